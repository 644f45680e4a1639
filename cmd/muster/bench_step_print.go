package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/muster-train/muster/model/device/cpu"
)

// ratio is how many times as many images a second there are as by the portable
// kernels; 0: it was not asked for.
func (m *measured) ratio() float64 {
	if m.portable == nil {
		return 0
	}
	return m.ImagesPerSecond() / m.portable.ImagesPerSecond()
}

// print prints a row for each measurement, what the columns mean, and the layers.
func (o *benchStepOptions) print(out io.Writer, all []measured) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "network\tinput\tthreads\tbatch\tms/step\timages/s\tGFLOP/s\tof peak\tbytes/step\t"
	if o.portable {
		head += "portable\t"
	}
	fmt.Fprintln(w, head)
	for i := range all {
		m := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%.2f\t%.1f\t%.1f\t%.1f %%\t%d\t", m.Config.Network.Name, shape(m.Config.Network.Input),
			m.Config.Threads, m.Config.Batch, milliseconds(m.Time), m.ImagesPerSecond(), m.Rate()/1e9, 100*m.PeakShare(), m.AllocatedBytes)
		if o.portable {
			fmt.Fprintf(w, "%.1fx\t", m.ratio())
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s kernels, %v factors, %d shards; medians of whole steps: forward, backward, update.\n", all[0].Kernel, all[0].Config.Precision, o.shards)
	fmt.Fprintln(out, "GFLOP/s: useful operations, without taps on padding and the gradient of the images.")
	fmt.Fprintf(out, "Peak: fused multiply-adds in registers, by turns with the steps; GFLOP/s by threads: %s.\n", peaks(all))
	if o.portable {
		fmt.Fprintf(out, "Portable: against one step of %d images by the portable kernels.\n", portableImages)
	}
	for i := range all {
		if m := &all[i]; m.Layers != nil {
			if err := m.printLayers(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// peaks lists the peaks of the numbers of threads that were measured.
func peaks(all []measured) string {
	rates := map[int][]float64{}
	var threads []int
	for i := range all {
		n := all[i].Config.Threads
		if rates[n] == nil {
			threads = append(threads, n)
		}
		rates[n] = append(rates[n], all[i].PeakRate)
	}
	var words []string
	for _, n := range threads {
		slices.Sort(rates[n])
		words = append(words, fmt.Sprintf("%d: %.1f", n, rates[n][len(rates[n])/2]/1e9))
	}
	return strings.Join(words, ", ")
}

// printLayers prints a row for each layer of a step.
func (m *measured) printLayers(out io.Writer) error {
	threads := "1 thread"
	if n := m.Config.Threads; n > 1 {
		threads = fmt.Sprintf("%d threads", n)
	}
	fmt.Fprintf(out, "\n%s, %s, milliseconds of a step:\n", m.Config.Network.Name, threads)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "layer\tforward\tbackward\tweights\ttotal\tof step\t")
	cell := func(d time.Duration) string {
		if d == 0 {
			return "-"
		}
		return fmt.Sprintf("%.3f", milliseconds(d))
	}
	row := func(t cpu.LayerTime, total time.Duration) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f %%\t\n", t.Layer, cell(t.Forward), cell(t.Backward), cell(t.Weights), cell(total),
			100*total.Seconds()/m.Time.Seconds())
	}
	sum := cpu.LayerTime{Layer: "total"}
	for _, t := range m.Layers {
		row(t, t.Total())
		sum.Forward, sum.Backward, sum.Weights = sum.Forward+t.Forward, sum.Backward+t.Backward, sum.Weights+t.Weights
	}
	row(cpu.LayerTime{Layer: "update"}, m.Update)
	row(sum, sum.Total()+m.Update)
	return w.Flush()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// stepLine is a line of JSON. The first seven fields are what other programs
// compare; more may be added after them.
type stepLine struct {
	Network         string  `json:"network"`
	Threads         int     `json:"threads"`
	Batch           int     `json:"batch"`
	ImagesPerSecond float64 `json:"images_per_second"`
	GFLOPS          float64 `json:"gflops"`
	PeakShare       float64 `json:"peak_share"`
	AllocatedBytes  uint64  `json:"bytes_allocated_per_step"`

	Milliseconds   float64     `json:"milliseconds"`
	UpdateMS       float64     `json:"update_milliseconds"`
	PeakGFLOPS     float64     `json:"peak_gflops"`
	Kernel         string      `json:"kernel"`
	Precision      string      `json:"precision"`
	Shards         int         `json:"shards"`
	InputSize      int         `json:"input_size"`
	Steps          int         `json:"steps"`
	PortableImages float64     `json:"portable_images_per_second,omitempty"`
	PortableRatio  float64     `json:"portable_ratio,omitempty"`
	Layers         []layerLine `json:"layers,omitempty"`
}

// layerLine is a layer's milliseconds in a step.
type layerLine struct {
	Layer    string  `json:"layer"`
	Forward  float64 `json:"forward_milliseconds"`
	Backward float64 `json:"backward_milliseconds"`
	Weights  float64 `json:"weights_milliseconds"`
}

func (m *measured) printJSON(out io.Writer) error {
	line := stepLine{
		Network: m.Config.Network.Name, Threads: m.Config.Threads, Batch: m.Config.Batch,
		ImagesPerSecond: m.ImagesPerSecond(), GFLOPS: m.Rate() / 1e9, PeakShare: m.PeakShare(), AllocatedBytes: m.AllocatedBytes,
		Milliseconds: milliseconds(m.Time), UpdateMS: milliseconds(m.Update), PeakGFLOPS: m.PeakRate / 1e9,
		Kernel: m.Kernel, Precision: m.Config.Precision.String(), Shards: m.Config.Shards, InputSize: m.Config.Network.Preprocess.Side, Steps: m.Steps,
		PortableRatio: m.ratio(),
	}
	if m.portable != nil {
		line.PortableImages = m.portable.ImagesPerSecond()
	}
	for _, t := range m.Layers {
		line.Layers = append(line.Layers, layerLine{t.Layer, milliseconds(t.Forward), milliseconds(t.Backward), milliseconds(t.Weights)})
	}
	return json.NewEncoder(out).Encode(line)
}
