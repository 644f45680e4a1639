package chart

import (
	"errors"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Limits is lines over one pair of axes and, dashed, the bound of each. Both axes
// are logarithmic: points that are not positive are left out.
type Limits struct {
	Title, X, Y string
	Lines       []Line // one for each label, in the same order
	Bounds      []Line // as Lines; fewer where some have none
}

// Limited draws graphs side by side under one legend, which tells what the dashed
// lines are too; a label has the same colour in all.
func Limited(path string, labels []string, dashed string, graphs ...Limits) error {
	if len(labels) == 0 || len(graphs) == 0 {
		return errors.New("limits: nothing to draw")
	}
	row := make([]*plot.Plot, len(graphs))
	for i, g := range graphs {
		row[i] = g.plot()
	}
	return saveRow(path, row, func(c draw.Canvas) {
		drawKey(drawLegend(c, labels), draw.LineStyle{Color: ink, Width: vg.Points(1.2), Dashes: dashes}, dashed)
	})
}

var dashes = []vg.Length{vg.Points(4), vg.Points(3)}

// plot draws logarithms: on an axis that gonum scales itself it takes the label to
// stand at the mean of both ends, and leaves room for it where it is not.
func (g Limits) plot() *plot.Plot {
	out := newPlot(g.Title, g.X, g.Y)
	out.Add(horizontals())
	var xs, ys []float64
	add := func(l Line, paint func(plotter.XYs)) {
		points := slices.DeleteFunc(l.finite(), func(p plotter.XY) bool { return p.X <= 0 || p.Y <= 0 })
		if len(points) == 0 {
			return
		}
		for i, p := range points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
			points[i] = plotter.XY{X: math.Log10(p.X), Y: math.Log10(p.Y)}
		}
		paint(points)
	}
	for i, l := range g.Lines {
		add(l, func(points plotter.XYs) {
			line, marks, err := plotter.NewLinePoints(points)
			if err != nil {
				return // only points that are not finite make it fail
			}
			line.Color, line.Width = colour(i), vg.Points(1.8)
			marks.Color, marks.Radius, marks.Shape = colour(i), vg.Points(2.6), draw.CircleGlyph{}
			out.Add(line, marks)
		})
	}
	for i, l := range g.Bounds {
		add(l, func(points plotter.XYs) {
			line, err := plotter.NewLine(points)
			if err != nil {
				return
			}
			line.Color, line.Width, line.Dashes = colour(i), vg.Points(1.2), dashes
			out.Add(line)
		})
	}
	if len(xs) == 0 {
		xs, ys = []float64{1}, []float64{1}
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	lo, hi := slices.Min(ys)/1.25, slices.Max(ys)*1.25
	out.X.Tick.Marker, out.Y.Tick.Marker = ticksAt(xs), ticksAt(decades(lo, hi))
	// A little room beside the first and the last point.
	out.X.Min, out.X.Max = math.Log10(xs[0]/1.12), math.Log10(xs[len(xs)-1]*1.12)
	out.Y.Min, out.Y.Max = math.Log10(lo), math.Log10(hi)
	return out
}

// ticksAt is ticks at positive values, of an axis of logarithms.
func ticksAt(values []float64) plot.ConstantTicks {
	ticks := make(plot.ConstantTicks, len(values))
	for i, v := range values {
		ticks[i] = plot.Tick{Value: math.Log10(v), Label: strconv.FormatFloat(v, 'g', 4, 64)}
	}
	return ticks
}

// decades is the powers of ten between lo and hi, which are positive, and twice and
// five times these where there are few.
func decades(lo, hi float64) []float64 {
	of := []float64{1}
	if hi/lo < 2000 {
		of = []float64{1, 2, 5}
	}
	var values []float64
	for e := math.Floor(math.Log10(lo)); e <= math.Log10(hi); e++ {
		for _, m := range of {
			if v := m * math.Pow(10, e); lo <= v && v <= hi {
				values = append(values, v)
			}
		}
	}
	return values
}
