package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/muster-train/muster/cmd/internal/bench"
	"github.com/muster-train/muster/internal/chart"
)

// printScale prints a row for each kind of computing, encoding and number of workers.
func printScale(out io.Writer, measured []*bench.Scale) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "compute\tencoding\tworkers\tms/step\tefficiency\tbound\tof bound\tspeed-up\tdilation\tCPUs in use\t")
	for _, s := range measured {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.1f\t%s\t%s\t%.2f\t%.2f\t%.1f\t%.0f %%\t\n", s.Compute.Name, s.Config.Encoding, s.Config.Workers, milliseconds(s.Step),
			percent(s.Efficiency()), percent(s.BoundEfficiency()), s.Efficiency()/s.BoundEfficiency(), float64(s.Config.Workers)*s.Efficiency(), s.Dilation, 100*s.CPUShare)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	cfg := measured[0].Config
	fmt.Fprintf(out, "\n%s, %d shards, links of %s and %v one way; medians of %d steps.\n", cfg.Network.Name, cfg.Shards, bits(cfg.Bandwidth), cfg.Delay, cfg.Steps)
	for _, c := range cfg.Computes {
		fmt.Fprintf(out, "%s: %v for the forward and backward passes of a worker's batch, emulated by waiting.\n", c.Name, c.Time)
	}
	_, err := fmt.Fprintln(out, "Efficiency: computing over step; speed-up: efficiency times workers. Dilation: times were made so much longer, bandwidths smaller.")
	return err
}

// percent writes small shares with as many digits as large ones.
func percent(x float64) string { return strconv.FormatFloat(100*x, 'g', 3, 64) + " %" }

// bits writes bits a second.
func bits(b float64) string {
	for _, unit := range []struct {
		name string
		bits float64
	}{{"Gbit/s", 1e9}, {"Mbit/s", 1e6}} {
		if b >= unit.bits {
			return strconv.FormatFloat(b/unit.bits, 'g', -1, 64) + " " + unit.name
		}
	}
	return strconv.FormatFloat(b, 'g', -1, 64) + " bit/s"
}

// scaleLine is a line of JSON. The first nine fields are what other programs
// compare; more may be added after them.
type scaleLine struct {
	Network    string  `json:"network"`
	Workers    int     `json:"workers"`
	Compute    string  `json:"compute"`
	Bandwidth  float64 `json:"bandwidth_bits"`
	Delay      float64 `json:"delay_seconds"`
	Encoding   string  `json:"encoding"`
	Step       float64 `json:"seconds_per_step"`
	Efficiency float64 `json:"efficiency"`
	Dilation   float64 `json:"dilation"`

	ComputeSeconds  float64 `json:"compute_seconds"`
	BoundSeconds    float64 `json:"bound_seconds_per_step"`
	BoundEfficiency float64 `json:"bound_efficiency"`
	UpBytes         float64 `json:"up_bytes"`
	DownBytes       float64 `json:"down_bytes"`
	Unshaped        float64 `json:"unshaped_seconds_per_step"`
	CPUShare        float64 `json:"cpu_share"`
	Shards          int     `json:"shards"`
	Steps           int     `json:"steps"`
}

func printScaleJSON(out io.Writer, scales []*bench.Scale) error {
	for _, s := range scales {
		line := scaleLine{
			Network: s.Config.Network.Name, Workers: s.Config.Workers, Compute: s.Compute.Name,
			Bandwidth: s.Config.Bandwidth, Delay: s.Config.Delay.Seconds(), Encoding: s.Config.Encoding.String(),
			Step: s.Step.Seconds(), Efficiency: s.Efficiency(), Dilation: s.Dilation,
			ComputeSeconds: s.Compute.Time.Seconds(), BoundSeconds: s.Bound.Seconds(), BoundEfficiency: s.BoundEfficiency(),
			UpBytes: s.Up, DownBytes: s.Down, Unshaped: s.Unshaped.Seconds(), CPUShare: s.CPUShare,
			Shards: s.Config.Shards, Steps: s.Config.Steps,
		}
		if err := json.NewEncoder(out).Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// plotScale draws efficiency and speed-up over workers. Those of one encoding and
// kind of computing follow each other in measured.
func plotScale(path string, measured []*bench.Scale) error {
	cfg := measured[0].Config
	of := fmt.Sprintf("%s, %s, %v one way", cfg.Network.Name, bits(cfg.Bandwidth), cfg.Delay)
	efficiency := chart.Limits{Title: "Efficiency: " + of, X: "workers", Y: "computing over step, %"}
	speed := chart.Limits{Title: "Speed-up: " + of, X: "workers", Y: "times one worker without a link"}
	var labels []string
	for _, s := range measured {
		label := s.Compute.Name + ", " + s.Config.Encoding.String()
		if len(labels) == 0 || labels[len(labels)-1] != label {
			labels = append(labels, label)
			for _, lines := range []*[]chart.Line{&efficiency.Lines, &efficiency.Bounds, &speed.Lines, &speed.Bounds} {
				*lines = append(*lines, chart.Line{})
			}
		}
		n, last := float64(s.Config.Workers), len(labels)-1
		for _, point := range []struct {
			lines []chart.Line
			y     float64
		}{
			{efficiency.Lines, 100 * s.Efficiency()},
			{efficiency.Bounds, 100 * s.BoundEfficiency()},
			{speed.Lines, n * s.Efficiency()},
			{speed.Bounds, n * s.BoundEfficiency()},
		} {
			l := &point.lines[last]
			l.X, l.Y = append(l.X, n), append(l.Y, point.y)
		}
	}
	return chart.Limited(path, labels, "bound", efficiency, speed)
}
