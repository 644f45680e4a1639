package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/muster-train/muster/internal/chart"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// evaluation is what a checkpoint's network makes of a test set.
type evaluation struct {
	path      string
	state     *checkpoint.State
	data      string // name of the set
	synthetic bool

	total   device.Tally
	classes []string // of the data
	// confusion (classes, outputs + 1) counts images by class and predicted
	// output; the last column those that the network could not tell.
	confusion [][]int
}

// none is the column of images whose logits are NaN.
const none = "none"

// begin makes ready to count images of classes, told apart by a network of outputs.
func (e *evaluation) begin(classes []string, outputs int) {
	e.classes = classes
	e.confusion = make([][]int, len(classes))
	for i := range e.confusion {
		e.confusion[i] = make([]int, outputs+1)
	}
}

// count adds a batch.
func (e *evaluation) count(labels, predicted []int32) {
	for i, label := range labels {
		column := int(predicted[i])
		if column < 0 {
			column = len(e.confusion[label]) - 1
		}
		e.confusion[label][column]++
	}
}

// class is what the evaluation says of one class.
type class struct {
	name            string
	images, correct int
	predicted       int    // images of any class taken for it
	mistakenFor     string // what its images are most often taken for instead; "": nothing
	mistaken        int    // how often
}

// recall is the share of the class's images that were told, precision the share
// of images taken for it that are of it; NaN where there is none.
func (c class) recall() float64    { return float64(c.correct) / float64(c.images) }
func (c class) precision() float64 { return float64(c.correct) / float64(c.predicted) }

func (e *evaluation) class(k int) class {
	c := class{name: e.classes[k], correct: e.confusion[k][k]}
	for column, n := range e.confusion[k] {
		c.images += n
		if column != k && n > c.mistaken {
			c.mistaken, c.mistakenFor = n, e.output(column)
		}
	}
	for row := range e.confusion {
		c.predicted += e.confusion[row][k]
	}
	return c
}

// output names a column.
func (e *evaluation) output(column int) string {
	switch {
	case column < len(e.classes):
		return e.classes[column]
	case len(e.confusion) > 0 && column == len(e.confusion[0])-1:
		return none
	}
	return fmt.Sprintf("class %d", column)
}

// columns are those of the classes, and such others as occur.
func (e *evaluation) columns() []int {
	var columns []int
	for column := range e.confusion[0] {
		occurs := column < len(e.classes)
		for row := range e.confusion {
			occurs = occurs || e.confusion[row][column] > 0
		}
		if occurs {
			columns = append(columns, column)
		}
	}
	return columns
}

// matrix is the confusion as a picture.
func (e *evaluation) matrix() chart.Matrix {
	title := fmt.Sprintf("%s, step %d: %.2f %% of %d images right", e.state.Network, e.state.Step, 100*e.share(e.total.Top1), e.total.Images)
	if e.synthetic {
		title += " (synthetic images)"
	}
	m := chart.Matrix{Title: title, Rows: e.classes}
	columns := e.columns()
	for _, column := range columns {
		m.Columns = append(m.Columns, e.output(column))
	}
	for row := range e.confusion {
		var counts []int
		for _, column := range columns {
			counts = append(counts, e.confusion[row][column])
		}
		m.Counts = append(m.Counts, counts)
	}
	return m
}

func (e *evaluation) share(n int) float64 { return float64(n) / float64(e.total.Images) }

func (e *evaluation) print(out io.Writer) error {
	fmt.Fprintf(out, "%s, step %d, %s: loss %.4f, top-1 %.2f %%, top-5 %.2f %% of %d images\n\n",
		e.state.Network, e.state.Step, e.data, e.total.Loss/float64(e.total.Images), 100*e.share(e.total.Top1), 100*e.share(e.total.Top5), e.total.Images)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "class\timages\tcorrect\trecall\tprecision\t  most often taken for")
	for k := range e.classes {
		c := e.class(k)
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t", c.name, c.images, c.correct, percentage(c.recall()), percentage(c.precision()))
		if c.mistakenFor != "" {
			fmt.Fprintf(w, "  %s (%d)", c.mistakenFor, c.mistaken)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nimages by class (rows) and by what they are taken for (columns):")
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	m := e.matrix()
	fmt.Fprintf(w, "\t%s\t\n", strings.Join(m.Columns, "\t"))
	for row, counts := range m.Counts {
		fmt.Fprint(w, m.Rows[row])
		for _, n := range counts {
			fmt.Fprintf(w, "\t%d", n)
		}
		fmt.Fprintln(w, "\t")
	}
	return w.Flush()
}

// percentage is a share for a table; what can't be told is a dash.
func percentage(share float64) string {
	if math.IsNaN(share) {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

// classLine is what the JSON says of a class; of recall and precision null is
// what can't be told.
type classLine struct {
	Class     string         `json:"class"`
	Images    int            `json:"images"`
	Correct   int            `json:"correct"`
	Recall    *float64       `json:"recall"`
	Precision *float64       `json:"precision"`
	Confusion map[string]int `json:"confusion"` // images by what they were taken for
}

func (e *evaluation) printJSON(out io.Writer) error {
	m := e.matrix()
	var classes []classLine
	for k := range e.classes {
		c := e.class(k)
		line := classLine{c.name, c.images, c.correct, number(c.recall()), number(c.precision()), map[string]int{}}
		for i, name := range m.Columns {
			line.Confusion[name] = m.Counts[k][i]
		}
		classes = append(classes, line)
	}
	return json.NewEncoder(out).Encode(map[string]any{
		"checkpoint": e.path, "network": e.state.Network, "step": e.state.Step, "synthetic": e.synthetic,
		"loss": checkpoint.Float(e.total.Loss / float64(e.total.Images)), "top1": e.share(e.total.Top1), "top5": e.share(e.total.Top5),
		"samples": e.total.Images, "classes": classes,
	})
}

// number is x, nil where it is NaN.
func number(x float64) *float64 {
	if math.IsNaN(x) {
		return nil
	}
	return &x
}
