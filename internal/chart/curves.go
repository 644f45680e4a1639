package chart

import (
	"errors"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Line is a series of points.
type Line struct {
	X, Y []float64 // equally many; points that are not finite are left out
}

// Graph is lines over one pair of axes.
type Graph struct {
	Title, X, Y string
	Lines       []Line // one for each label, in the same order
}

// Curves draws graphs side by side under one legend; a label has the same
// colour in all.
func Curves(path string, labels []string, graphs ...Graph) error {
	if len(labels) == 0 || len(graphs) == 0 {
		return errors.New("curves: nothing to draw")
	}
	row := make([]*plot.Plot, len(graphs))
	for i, g := range graphs {
		row[i] = g.plot()
	}
	return saveRow(path, row, func(c draw.Canvas) { drawLegend(c, labels) })
}

// saveRow draws plots side by side under a legend.
func saveRow(path string, row []*plot.Plot, legend func(draw.Canvas)) error {
	const height = 28 // of the legend
	return save(path, vg.Points(420*float64(len(row))), vg.Points(320+height), func(c draw.Canvas) {
		legend(draw.Crop(c, vg.Points(60), 0, c.Size().Y-vg.Points(height+8), 0))
		t := draw.Tiles{
			Rows: 1, Cols: len(row), PadX: vg.Points(24),
			PadTop: vg.Points(height + 8), PadBottom: vg.Points(12), PadLeft: vg.Points(12), PadRight: vg.Points(16),
		}
		for i, canvas := range plot.Align([][]*plot.Plot{row}, t, c)[0] {
			row[i].Draw(canvas)
		}
	})
}

func (g Graph) plot() *plot.Plot {
	out := newPlot(g.Title, g.X, g.Y)
	out.Add(horizontals())
	for i, l := range g.Lines {
		points := l.finite()
		if len(points) == 0 {
			continue
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			continue // only points that are not finite make it fail
		}
		line.Color, line.Width = colour(i), vg.Points(1.8)
		marks.Color, marks.Radius, marks.Shape = colour(i), vg.Points(2.4), draw.CircleGlyph{}
		out.Add(line)
		if len(points) <= 40 {
			out.Add(marks)
		}
	}
	if lo, hi := out.X.Min, out.X.Max; hi-lo <= 20 {
		out.X.Tick.Marker = wholes{}
		if lo == hi {
			out.X.Min, out.X.Max = lo-1, hi+1
		}
	}
	return out
}

func (l Line) finite() plotter.XYs {
	var points plotter.XYs
	for i := range l.X {
		if x, y := l.X[i], l.Y[i]; !math.IsNaN(x+y) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
			points = append(points, plotter.XY{X: x, Y: y})
		}
	}
	return points
}

// wholes are ticks at whole numbers.
type wholes struct{}

// Ticks returns the ticks between lo and hi.
func (wholes) Ticks(lo, hi float64) []plot.Tick {
	var ticks []plot.Tick
	step := max(1, math.Ceil((hi-lo)/10))
	for v := math.Ceil(lo); v <= hi; v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', -1, 64)})
	}
	return ticks
}

// drawLegend draws a row of names, each after a piece of its line, and returns
// what is left to the right of them.
func drawLegend(c draw.Canvas, labels []string) draw.Canvas {
	for i, name := range labels {
		c = drawKey(c, draw.LineStyle{Color: colour(i), Width: vg.Points(3)}, name)
	}
	return c
}

func drawKey(c draw.Canvas, line draw.LineStyle, name string) draw.Canvas {
	style := textStyle(11, draw.XLeft, draw.YCenter)
	x, y := c.Min.X, (c.Min.Y+c.Max.Y)/2
	c.StrokeLine2(line, x, y, x+vg.Points(20), y)
	c.FillText(style, vg.Point{X: x + vg.Points(26), Y: y}, name)
	return draw.Crop(c, vg.Points(26)+style.Width(name)+vg.Points(24), 0, 0, 0)
}
