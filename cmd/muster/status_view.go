package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// text is the status as people read it. Its rows are the same whatever the job
// is doing, so that nothing jumps while it is watched.
func (s *jobStatus) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	row("job", s.described)
	row("images", s.images())
	row("phase", s.doing())
	row("step", s.progress()+s.resumed())
	row("epoch", s.place())
	row("samples", thousands(int(s.Samples)))
	row("newest step", s.newest())
	row("evaluation", "last: "+s.LastEvaluation.text())
	row("", "best: "+s.BestEvaluation.text())
	row("throughput", s.throughput())
	row("checkpoint", s.checkpoint())
	for i, line := range s.Time.lines() {
		row([]string{"time", ""}[i], line)
	}
	row("traffic", fmt.Sprintf("received %s of gradients, sent %s of parameters", size(s.ReceivedBytes), size(s.SentBytes)))
	if s.relaxed {
		row("staleness", s.staleness())
	}
	row("faults", s.faults())
	for i, b := range s.Standbys {
		row([]string{"standbys", ""}[min(i, 1)], b.text())
	}
	for i, p := range s.Parts {
		row([]string{"parts", ""}[min(i, 1)], p.text())
	}
	if len(s.Workers) == 0 {
		row("workers", unknown)
	}
	_ = w.Flush() // a strings.Builder takes everything
	if len(s.Workers) > 0 {
		b.WriteByte('\n')
		s.workers(&b)
	}
	return b.String()
}

// unknown stands for what there is none of yet.
const unknown = "-"

func (s *jobStatus) images() string {
	switch {
	case s.Synthetic == nil:
		return unknown
	case *s.Synthetic:
		return "synthetic, not CIFAR-10"
	}
	return "CIFAR-10"
}

// doing is the phase, and what it waits for.
func (s *jobStatus) doing() string {
	if s.Phase != "waiting" {
		return s.Phase
	}
	connected := 0
	for _, w := range s.Workers {
		if w.Connected {
			connected++
		}
	}
	if connected < int(s.MinWorkers) && s.MinWorkers > 1 {
		return fmt.Sprintf("waiting for workers: %d of the %d that are needed are there", connected, s.MinWorkers)
	}
	var missing []string
	for _, p := range s.Parts {
		if p.Address == nil {
			missing = append(missing, "the server of part "+p.Part)
		}
	}
	if len(s.UnownedShards) > 0 {
		missing = append(missing, fmt.Sprintf("workers for %s of %d", shardNames(s.UnownedShards), s.Shards))
	}
	for _, w := range s.Workers {
		switch {
		case len(w.Shards) == 0:
		case !w.Connected:
			missing = append(missing, fmt.Sprintf("%s, which owns %s", w.Worker, shardNames(w.Shards)))
		case w.Hung:
			missing = append(missing, fmt.Sprintf("%s, which owns %s and hangs", w.Worker, shardNames(w.Shards)))
		}
	}
	if len(missing) == 0 {
		return "waiting for workers"
	}
	return "waiting for " + strings.Join(missing, ", and for ")
}

func (b *standbyStatus) text() string {
	state := "has every step"
	if !b.Following {
		state = "waits for the next step"
	}
	return fmt.Sprintf("%s at %s: %s", b.Server, b.Address, state)
}

func (p *partStatus) text() string {
	where := "not there"
	if p.Address != nil {
		where = *p.Address
	}
	return fmt.Sprintf("%s %s: chunks %d, received %s, sent %s", p.Part, where, p.Chunks, size(p.ReceivedBytes), size(p.SentBytes))
}

// progress is the step of how many.
func (s *jobStatus) progress() string {
	step := thousands(int(s.Step))
	if s.TotalSteps == nil {
		return step
	}
	return fmt.Sprintf("%s of %s (%.0f %%)", step, thousands(int(*s.TotalSteps)), 100*float64(s.Step)/float64(*s.TotalSteps))
}

// resumed tells where the server took the job up.
func (s *jobStatus) resumed() string {
	if s.ResumedStep == 0 {
		return ""
	}
	return ", resumed from step " + thousands(int(s.ResumedStep))
}

// place is the epoch and batch in progress, which people count from 1.
func (s *jobStatus) place() string {
	place := fmt.Sprintf("%d of %d", s.Epoch+1, s.Epochs)
	if s.Batches != nil {
		place += fmt.Sprintf(", batch %d of %d", s.Batch+1, *s.Batches)
	}
	return place
}

func (s *jobStatus) newest() string {
	var parts []string
	switch {
	case s.Loss != nil:
		parts = append(parts, fmt.Sprintf("loss %.4f", *s.Loss))
	case s.Time.Images > 0:
		parts = append(parts, "loss not finite")
	}
	if s.Accuracy != nil {
		parts = append(parts, fmt.Sprintf("accuracy %.2f %%", 100**s.Accuracy))
	}
	if s.LearningRate != nil {
		parts = append(parts, "learning rate "+strconv.FormatFloat(float64(*s.LearningRate), 'g', -1, 32))
	}
	return listed(parts)
}

func (s *scoreStatus) text() string {
	if s == nil {
		return unknown
	}
	var parts []string
	if s.Top1 != nil {
		parts = append(parts, fmt.Sprintf("accuracy %.2f %%", 100**s.Top1))
	}
	if s.Top5 != nil {
		parts = append(parts, fmt.Sprintf("top-5 %.2f %%", 100**s.Top5))
	}
	if s.Loss != nil {
		parts = append(parts, fmt.Sprintf("loss %.4f", *s.Loss))
	} else {
		parts = append(parts, "loss not finite")
	}
	return listed(append(parts, fmt.Sprintf("after epoch %d", s.Epoch+1)))
}

func (s *jobStatus) throughput() string {
	var parts []string
	if s.ImagesPerSecond != nil {
		parts = append(parts, decimal(*s.ImagesPerSecond)+" images/s")
	}
	if s.RemainingSeconds != nil && *s.RemainingSeconds > 0 {
		left := math.Ceil(*s.RemainingSeconds) // an estimate
		if left < 60 {
			parts = append(parts, fmt.Sprintf("%.0f s left", left))
		} else {
			parts = append(parts, span(left)+" left")
		}
	}
	return listed(parts)
}

func (s *jobStatus) checkpoint() string {
	if s.Checkpoint == nil {
		return unknown
	}
	ago := "the newest step"
	if n := s.Step - min(*s.CheckpointStep, s.Step); n == 1 {
		ago = "1 step ago"
	} else if n > 1 {
		ago = thousands(int(n)) + " steps ago"
	}
	return fmt.Sprintf("%s (step %s, %s)", *s.Checkpoint, thousands(int(*s.CheckpointStep)), ago)
}

// lines are two, so that they fit a terminal of 80 columns.
func (t timeStatus) lines() [2]string {
	sum := t.ComputeSeconds + t.ExchangeSeconds + t.WaitSeconds + t.EvaluateSeconds
	part := func(name string, seconds float64) string {
		if sum <= 0 {
			return name + " " + unknown
		}
		return fmt.Sprintf("%s %.0f %% (%s)", name, 100*seconds/sum, span(seconds))
	}
	return [2]string{
		part("compute", t.ComputeSeconds) + ", " + part("exchange", t.ExchangeSeconds),
		part("wait", t.WaitSeconds) + ", " + part("evaluation", t.EvaluateSeconds),
	}
}

// staleness is how old the parameters were that gradients came of.
func (s *jobStatus) staleness() string {
	if s.StalenessMean == nil {
		return unknown
	}
	return fmt.Sprintf("%.1f updates in the mean, %s at most; %s ahead at most", *s.StalenessMean, thousands(int(*s.StalenessMax)), steps(*s.StepsAhead))
}

func steps(n uint32) string {
	if n == 1 {
		return "1 step"
	}
	return thousands(int(n)) + " steps"
}

// faults are of contributions alone: lost workers show in their table.
func (s *jobStatus) faults() string {
	var parts []string
	for _, f := range []struct {
		n    uint64
		what string
	}{
		{s.RefusedNotFinite, "not finite"}, {s.RefusedMalformed, "malformed"}, {s.RepeatedContributions, "repeated"},
	} {
		if f.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", thousands(int(f.n)), f.what))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return "contributions that did not count: " + listed(parts)
}

// workers writes a row for each, numbers to the right.
func (s *jobStatus) workers(b *strings.Builder) {
	rows := [][]string{{"worker", "host", "device", "shards", "mode", "link", "compute", "speed", "images"}}
	for _, w := range s.Workers {
		mode, link, compute, speed := "assigned", cmp.Or(w.Transport, "up"), unknown, unknown
		if w.PinnedShard != nil {
			mode = fmt.Sprintf("pinned %d/%d", *w.PinnedShard, s.Shards)
		}
		switch {
		case !w.Connected:
			link = "down"
		case w.Hung:
			link = "hung"
		}
		if w.ComputeSeconds != nil {
			compute = span(*w.ComputeSeconds)
		}
		if w.RelativeSpeed != nil {
			speed = fmt.Sprintf("%.2f", *w.RelativeSpeed)
		}
		if w.Straggler {
			speed = "slow " + speed
		}
		rows = append(rows, []string{w.Worker, w.Host, w.Device, ranges(w.Shards), mode, link, compute, speed, thousands(int(w.Images))})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			if cell == "" {
				row[i] = unknown
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				b.WriteString("  ")
			}
			if i < 6 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString(pad + cell)
			}
		}
		b.WriteByte('\n')
	}
}
