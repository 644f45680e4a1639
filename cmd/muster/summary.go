package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/muster-train/muster/paramserver"
)

// summarise prints what a training run came to.
func summarise(out io.Writer, cfg paramserver.Config, r paramserver.Result, took time.Duration) error {
	if r.Already {
		_, err := fmt.Fprintf(out, "job %q was already done; --epochs with more than %d trains on, --resume none begins anew\n", cfg.Job.Name, cfg.Job.Epochs)
		if err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	data := "CIFAR-10"
	if r.Synthetic {
		data = "synthetic images, not CIFAR-10"
	}
	row("network", "%s on %s", cfg.Job.Network, data)
	row("steps", "%d, %d images", r.Step, r.Samples)
	if n := len(r.Epochs); n > 0 {
		last := r.Epochs[n-1]
		row("epochs", "%d evaluated", n)
		row("test accuracy", "last %.2f %%, loss %.4f", 100*float64(last.Top1), float64(last.TestLoss))
		if r.Best != nil {
			row("", "best %.2f %% after epoch %d", 100*float64(r.Best.Accuracy), r.Best.Epoch+1)
		}
	}
	if s := r.Split; s.Images > 0 {
		row("images/s", "%.0f", s.ImagesPerSecond())
		row("time", "%v: compute %s, exchange and update %s, wait %s, evaluation %s", took.Round(100*time.Millisecond),
			share(s.Compute, took), share(s.Exchange, took), share(s.Wait, took), share(s.Evaluate, took))
	}
	if c := r.Staleness; c != nil {
		row("staleness", "%.1f updates in the mean, %d at most; %s ahead at most", c.Mean, c.Max, steps(uint32(c.Ahead)))
	}
	if r.Checkpoint != "" {
		row("checkpoint", "%s", r.Checkpoint)
	}
	return w.Flush()
}

func share(part, whole time.Duration) string {
	if whole <= 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.0f %%", 100*part.Seconds()/whole.Seconds())
}
