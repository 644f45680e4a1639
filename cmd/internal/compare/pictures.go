package compare

import (
	"fmt"
	"math"
	"time"

	"github.com/muster-train/muster/internal/chart"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// finite is x for JSON, which has no number for what is not finite.
func finite(x float64) checkpoint.Float { return checkpoint.Float(x) }

// bars draws the article's chart: accuracy and time, a bar for each network.
func (x *Experiment) bars(path string) error {
	accuracy := chart.Panel{Title: x.title("Accuracy"), Axis: "test accuracy, %"}
	longest := 0.0
	for i := range x.Runs {
		longest = max(longest, x.Runs[i].Seconds())
	}
	unit, name := unitOf(longest)
	times := chart.Panel{Title: "Time of training, tests included", Axis: name}
	for i := range x.Runs {
		top1 := 100 * float64(x.Runs[i].Last().Top1)
		accuracy.Values = append(accuracy.Values, top1)
		accuracy.Text = append(accuracy.Text, fmt.Sprintf("%.1f", top1))
		s := x.Runs[i].Seconds()
		times.Values = append(times.Values, s/unit)
		times.Text = append(times.Text, clock(s))
	}
	return chart.Bars(path, x.names(), accuracy, times)
}

// title is a picture's, which may be seen without its page.
func (x *Experiment) title(what string) string {
	what += fmt.Sprintf(" after %d epochs", x.Settings.Epochs)
	if x.Data.Synthetic {
		what += " (synthetic images)"
	}
	return what
}

// curves draws accuracy and losses over the epochs.
func (x *Experiment) curves(path string) error {
	accuracy := chart.Graph{Title: "Test accuracy", X: "epoch", Y: "%"}
	loss := chart.Graph{Title: "Test loss", X: "epoch", Y: "cross-entropy"}
	training := chart.Graph{Title: "Training loss", X: "epoch", Y: "cross-entropy, mean over the epoch"}
	if x.Data.Synthetic {
		accuracy.Title += " (synthetic images)"
	}
	for i := range x.Runs {
		var a, l, t chart.Line
		for _, e := range x.Runs[i].Epochs {
			epoch := float64(e.Epoch + 1)
			a.X, a.Y = append(a.X, epoch), append(a.Y, 100*float64(e.Top1))
			l.X, l.Y = append(l.X, epoch), append(l.Y, float64(e.TestLoss))
			t.X, t.Y = append(t.X, epoch), append(t.Y, float64(e.TrainLoss))
		}
		accuracy.Lines, loss.Lines, training.Lines = append(accuracy.Lines, a), append(loss.Lines, l), append(training.Lines, t)
	}
	return chart.Curves(path, x.names(), accuracy, loss, training)
}

func (x *Experiment) names() []string {
	var names []string
	for i := range x.Runs {
		names = append(names, x.Runs[i].Network)
	}
	return names
}

// unitOf is the unit, in seconds, in which times up to longest are read best.
func unitOf(longest float64) (unit float64, name string) {
	switch {
	case longest >= 2*3600:
		return 3600, "hours"
	case longest >= 120:
		return 60, "minutes"
	}
	return 1, "seconds"
}

// clock is a time to read: 7.3s, 2m05s, 1h02m.
func clock(seconds float64) string {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return "not known"
	}
	if seconds < 60 {
		return fmt.Sprintf("%.1fs", seconds)
	}
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Hour {
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
