package chart

import (
	"errors"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Panel is one group of bars with an axis of its own.
type Panel struct {
	Title  string
	Axis   string // what the values are, with their unit
	Values []float64
	Text   []string // what stands on each bar
}

// Bars draws panels side by side, a bar for each label in each of them; a label
// has the same colour in all.
func Bars(path string, labels []string, panels ...Panel) error {
	if len(labels) == 0 || len(panels) == 0 {
		return errors.New("bars: nothing to draw")
	}
	width := vg.Points(float64(len(panels)) * max(330, 60+90*float64(len(labels))))
	return save(path, width, vg.Points(300), func(c draw.Canvas) {
		row := make([]*plot.Plot, len(panels))
		for i, p := range panels {
			row[i] = p.plot(labels)
		}
		t := draw.Tiles{
			Rows: 1, Cols: len(panels), PadX: vg.Points(24),
			PadTop: vg.Points(12), PadBottom: vg.Points(12), PadLeft: vg.Points(12), PadRight: vg.Points(12),
		}
		for i, canvas := range plot.Align([][]*plot.Plot{row}, t, c)[0] {
			row[i].Draw(canvas)
		}
	})
}

func (p Panel) plot(labels []string) *plot.Plot {
	out := newPlot(p.Title, "", p.Axis)
	out.X.Tick.Length, out.X.LineStyle.Width = 0, 0
	out.Add(horizontals())
	top := 0.0
	for i := range labels {
		v := p.Values[i]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		bar, err := plotter.NewBarChart(plotter.Values{v}, vg.Points(48))
		if err != nil {
			continue // it fails for values that are not finite alone
		}
		bar.XMin, bar.Color, bar.LineStyle.Width = float64(i), colour(i), 0
		out.Add(bar, &tag{x: float64(i), y: v, text: p.Text[i], size: 11})
		top = max(top, v)
	}
	out.NominalX(labels...)
	out.X.Min, out.X.Max = -0.6, float64(len(labels))-0.4
	out.Y.Min, out.Y.Max = 0, top*1.12
	if top == 0 {
		out.Y.Max = 1
	}
	return out
}

// horizontals are the lines behind the data.
func horizontals() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color = nil
	g.Horizontal.Color, g.Horizontal.Width, g.Horizontal.Dashes = rule, vg.Points(0.5), nil
	return g
}

// tag is text just above a point.
type tag struct {
	x, y float64
	text string
	size vg.Length
}

// Plot draws the text.
func (t *tag) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	c.FillText(textStyle(t.size, draw.XCenter, draw.YBottom), vg.Point{X: x(t.x), Y: y(t.y) + vg.Points(3)}, t.text)
}
