package compare

import (
	"fmt"
	"math"
	"strings"
)

// Markdown is the report's page. It names its pictures by file, beside it.
func (x *Experiment) Markdown() string {
	p := &page{}
	p.line("# %s", x.heading())
	if x.Data.Synthetic {
		p.line("**Trained on the built-in synthetic images, not on CIFAR-10: the numbers below say nothing about CIFAR-10.**")
	}
	p.line("%s", x.conclusion())
	p.line("![A bar for each network: test accuracy after the last epoch, and the time that training took.](%s.png)", barsFile)
	p.line("The same as [SVG](%s.svg). Time is wall-clock time of all epochs, each with its test; time in which the comparison was interrupted is not in it.", barsFile)
	p.line("## Curves")
	p.line("![Test accuracy, test loss and training loss of each network over the epochs.](%s.png)", curvesFile)
	p.line("The same as [SVG](%s.svg). The training loss is the mean over the epoch as it went, with dropout at work; the test loss is measured after it, without.", curvesFile)
	p.line("## Results")
	x.resultsTable(p)
	x.epochsTable(p)
	p.line("## Conditions")
	x.conditions(p)
	p.line("## Commands")
	p.line("The comparison:")
	p.code(x.Command)
	p.line("Each network alone; the parameters come out the same, to the last bit:")
	for i := range x.Runs {
		p.code(x.Runs[i].Command, "parameters sha256:"+x.Runs[i].Hash)
	}
	p.line("[%s](%s) holds all numbers of this page.", ResultsFile, ResultsFile)
	return p.String()
}

func (x *Experiment) heading() string {
	names := x.names()
	if len(names) == 1 {
		return fmt.Sprintf("%s, %d epochs", names[0], x.Settings.Epochs)
	}
	return fmt.Sprintf("%s and %s compared, %d epochs", strings.Join(names[:len(names)-1], ", "), names[len(names)-1], x.Settings.Epochs)
}

// conclusion says in words what the chart shows, and how that compares with the article.
func (x *Experiment) conclusion() string {
	accurate, quick := &x.Runs[0], &x.Runs[0]
	for i := range x.Runs {
		if r := &x.Runs[i]; r.Last().Top1 > accurate.Last().Top1 {
			accurate = r
		}
		if r := &x.Runs[i]; r.Seconds() < quick.Seconds() {
			quick = r
		}
	}
	var s strings.Builder
	if len(x.Runs) == 1 {
		fmt.Fprintf(&s, "%s reached a test accuracy of %s in %s.", accurate.Network, percent(float64(accurate.Last().Top1)), clock(accurate.Seconds()))
		return s.String()
	}
	fmt.Fprintf(&s, "After %d epochs %s was the most accurate with %s of the test images; %s took the least time, %s.",
		x.Settings.Epochs, accurate.Network, percent(float64(accurate.Last().Top1)), quick.Network, clock(quick.Seconds()))
	s.WriteString(x.article())
	return s.String()
}

// article compares what was measured with what the article found, as far as its
// networks are here.
func (x *Experiment) article() string {
	find := func(name string) *Run {
		for i := range x.Runs {
			if x.Runs[i].Network == name {
				return &x.Runs[i]
			}
		}
		return nil
	}
	plain, lrn, tf := find("alexnet"), find("alexnet-lrn"), find("alexnet-tf")
	if plain == nil || lrn == nil {
		return ""
	}
	agrees := func(yes bool) string {
		if yes {
			return "So it is here"
		}
		return "Not so here"
	}
	accuracy := agrees(lrn.Last().Top1 > plain.Last().Top1)
	if lrn.Last().Top1 == plain.Last().Top1 {
		accuracy = "They are equal here"
	}
	out := fmt.Sprintf("\n\nOf AlexNet with and without local response normalisation the article found the first more accurate and the second quicker. "+
		"%s for the accuracy: %s with, %s without. %s for the time: %s with, %s without, by the median epoch.",
		accuracy, percent(float64(lrn.Last().Top1)), percent(float64(plain.Last().Top1)),
		agrees(plain.EpochSeconds() < lrn.EpochSeconds()), clock(lrn.EpochSeconds()), clock(plain.EpochSeconds()))
	if tf != nil {
		out += fmt.Sprintf(" TensorFlow's network lay between them in both there; here it has an accuracy of %s and %s an epoch, on images of %d pixels a side.",
			percent(float64(tf.Last().Top1)), clock(tf.EpochSeconds()), tf.Side)
	}
	return out
}

func (x *Experiment) resultsTable(p *page) {
	p.row("network", "input", "parameters", "MFLOP/image", "test accuracy", "best, epoch", "top-5", "test loss", "training loss", "time", "median epoch", "images/s")
	p.row("---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:")
	for i := range x.Runs {
		r := &x.Runs[i]
		last, best := r.Last(), r.Best()
		p.row("`"+r.Network+"`", fmt.Sprintf("%dx%d", r.Side, r.Side), fmt.Sprint(r.Parameters), fmt.Sprintf("%.0f", float64(r.FLOP)/1e6),
			percent(float64(last.Top1)), fmt.Sprintf("%s, %d", percent(float64(best.Top1)), best.Epoch+1), percent(float64(last.Top5)),
			number(float64(last.TestLoss)), number(float64(last.TrainLoss)), clock(r.Seconds()), clock(r.EpochSeconds()), fmt.Sprintf("%.0f", r.ImagesPerSecond()))
	}
	p.gap()
	p.line("MFLOP/image: forward and backward, textbook count. Images/s: training images of an epoch over the median epoch's time, its test included.")
}

func (x *Experiment) epochsTable(p *page) {
	p.line("Test accuracy after each epoch:")
	head, rule := []string{"epoch"}, []string{"--:"}
	for _, name := range x.names() {
		head, rule = append(head, "`"+name+"`"), append(rule, "--:")
	}
	p.row(head...)
	p.row(rule...)
	for e := range x.Settings.Epochs {
		row := []string{fmt.Sprint(e + 1)}
		for i := range x.Runs {
			cell := ""
			if e < len(x.Runs[i].Epochs) {
				cell = percent(float64(x.Runs[i].Epochs[e].Top1))
			}
			row = append(row, cell)
		}
		p.row(row...)
	}
	p.gap()
}

func (x *Experiment) conditions(p *page) {
	s, m, d := x.Settings, x.Machine, x.Data
	p.line("The same for all: batch %d over %d shards, %d epochs%s, seed %d, %s of %s.", s.Batch, s.Shards, s.Epochs, limit(s.Limit), s.Seed,
		plural(s.Workers, "worker"), plural(s.Threads, "thread"))
	p.line("Each network's own recipe:")
	p.row("network", "learning rate", "momentum", "weight decay", "schedule", "changes to training images")
	p.row("---", "--:", "--:", "--:", "---", "---")
	for i := range x.Runs {
		r := &x.Runs[i]
		p.row("`"+r.Network+"`", fmt.Sprint(r.LearningRate), fmt.Sprint(r.Momentum), fmt.Sprint(r.WeightDecay), "`"+r.Schedule+"`", r.Augment)
	}
	p.gap()
	for i := range x.Runs {
		if r := &x.Runs[i]; r.SideChosen {
			p.line("`%s` wants images of %d pixels a side. They are %d here, the smallest multiple of CIFAR-10's 32 that leaves each of its layers an output: "+
				"what a CPU can train. `--input-size %s=%d` gives it its own.", r.Network, r.OwnSide, r.Side, r.Network, r.OwnSide)
		}
	}
	memory := ""
	if m.MemoryBytes > 0 {
		memory = fmt.Sprintf(", %.0f GiB of memory", float64(m.MemoryBytes)/(1<<30))
	}
	p.line("Machine: %s, %s%s, %s. Device %s, kernels %s, %s, muster %s, commit %s.", m.CPU, plural(m.CPUs, "logical CPU"), memory, m.System, s.Device, m.Kernel, m.Go, m.Version, m.Commit)
	for i := range x.Runs {
		if r := &x.Runs[i]; r.Commit != "" && r.Commit != m.Commit {
			p.line("The training of `%s` was begun by commit %s.", r.Network, r.Commit)
		}
	}
	kind := "CIFAR-10"
	if d.Synthetic {
		kind = "built-in synthetic images, not CIFAR-10"
	}
	p.line("Data: %s; %d training and %d test images of %d classes, fingerprint `%.16s`.", kind, d.Train, d.Test, d.Classes, d.Fingerprint)
}

func limit(batches int) string {
	if batches == 0 {
		return ""
	}
	return fmt.Sprintf(" of at most %s", plural(batches, "batch"))
}

func plural(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "ch"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func percent(x float64) string {
	if math.IsNaN(x) {
		return "not known"
	}
	return fmt.Sprintf("%.2f %%", 100*x)
}

func number(x float64) string {
	if math.IsNaN(x) {
		return "not known"
	}
	return fmt.Sprintf("%.4f", x)
}

// page is Markdown in the making.
type page struct{ strings.Builder }

// line is a paragraph.
func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n\n", args...) }

func (p *page) row(cells ...string) { fmt.Fprintf(p, "| %s |\n", strings.Join(cells, " | ")) }

func (p *page) gap() { p.WriteByte('\n') }

func (p *page) code(lines ...string) { fmt.Fprintf(p, "```\n%s\n```\n\n", strings.Join(lines, "\n")) }
