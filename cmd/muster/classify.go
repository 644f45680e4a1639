package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/model/topology"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// mostPictures is how many are classified at once.
const mostPictures = 64

// verdict is a picture and what the network takes it for.
type verdict struct {
	file          string
	pixels        []byte    // (3, side, side), as the images trained on
	probabilities []float32 // (classes)
	logits        []float32 // (classes), what the probabilities are the softmax of
}

// classifier is a network ready to classify.
type classifier struct {
	images    int // at once
	transform dataset.Transform
	plan      device.Plan
	classes   int
}

func newClassifier(net *topology.Network, values []float32, d device.Device, images int) (*classifier, error) {
	c := &classifier{images: images, classes: len(net.Classes), transform: dataset.Transform{Side: net.Side, Mean: net.Mean, Std: net.Std}}
	if err := c.transform.Validate(); err != nil {
		return nil, settings.Usage(err)
	}
	if net.ImageSide != dataset.Side {
		return nil, settings.Usagef("the network was trained on images of %d pixels a side; this program prepares such of %d", net.ImageSide, dataset.Side)
	}
	var err error
	if c.plan, err = d.Compile(net.Graph, device.Options{Images: images}); err != nil {
		return nil, settings.Usagef("topology: %w", err)
	}
	copy(c.plan.Parameters(), values)
	c.plan.Loaded(params.Range{First: 0, End: net.Layout.Size()})
	return c, nil
}

func (c *classifier) close() { c.plan.Close() }

// classify fills in the probabilities of at most c.images verdicts.
func (c *classifier) classify(batch []verdict) error {
	if len(batch) == 0 {
		return nil
	}
	n := c.transform.Len()
	images := make([]float32, n*len(batch))
	for i, v := range batch {
		c.transform.Test(images[i*n:(i+1)*n], v.pixels)
	}
	p, z := make([]float32, c.classes*len(batch)), make([]float32, c.classes*len(batch))
	if err := c.plan.Predict(p, &device.Batch{Images: images, Logits: z}); err != nil {
		return err
	}
	for i := range batch {
		batch[i].probabilities, batch[i].logits = p[i*c.classes:(i+1)*c.classes], z[i*c.classes:(i+1)*c.classes]
	}
	return nil
}

// ranked returns the classes by falling logit, since probabilities may round to
// the same; of equals the lower number first.
func (v *verdict) ranked() []int {
	order := make([]int, len(v.logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(v.logits[b], v.logits[a]) })
	return order
}

// print shows the likeliest classes of a picture.
func (o *predictOptions) print(out io.Writer, net *topology.Network, step *uint64, v verdict) error {
	order := v.ranked()
	order = order[:min(o.top, len(order))]
	if o.json {
		type prediction struct {
			Class       string           `json:"class"`
			Index       int              `json:"index"`
			Probability checkpoint.Float `json:"probability"`
			Logit       checkpoint.Float `json:"logit"`
		}
		line := struct {
			File        string       `json:"file"`
			Predictions []prediction `json:"predictions"`
			Network     string       `json:"network"`
			Step        *uint64      `json:"step,omitempty"`
			Channels    string       `json:"channels"`
			Synthetic   bool         `json:"synthetic"`
		}{File: v.file, Network: net.About.Network, Step: step, Channels: o.channels, Synthetic: net.About.Synthetic}
		for _, c := range order {
			line.Predictions = append(line.Predictions, prediction{net.Classes[c], c, checkpoint.Float(v.probabilities[c]), checkpoint.Float(v.logits[c])})
		}
		return json.NewEncoder(out).Encode(line)
	}
	widest := 0
	for _, c := range order {
		widest = max(widest, utf8.RuneCountInString(net.Classes[c]))
	}
	var b strings.Builder
	fmt.Fprintln(&b, v.file)
	if slices.ContainsFunc(v.logits, func(z float32) bool { return z != z }) {
		fmt.Fprintln(&b, "  the network's outputs are not numbers: its training has diverged")
		order = nil
	}
	for _, c := range order {
		p := float64(v.probabilities[c])
		fmt.Fprintf(&b, "  %-*s  %5.1f %%  %s\n", widest, net.Classes[c], 100*p, bar(p))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// bar draws a share of 1, in eighths of a character, 40 of them for all; nothing
// where it is NaN.
func bar(share float64) string {
	if math.IsNaN(share) {
		return ""
	}
	eighths := int(share*40*8 + 0.5)
	line := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		line += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return line
}
