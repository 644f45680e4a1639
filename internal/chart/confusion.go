package chart

import (
	"errors"
	"fmt"
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Matrix is counts of what is (rows) taken for what (columns).
type Matrix struct {
	Title         string
	Rows, Columns []string
	Counts        [][]int // (rows, columns)
}

// Confusion draws a matrix: a cell is the darker, the larger its share of its row.
func Confusion(path string, m Matrix) error {
	if len(m.Rows) == 0 || len(m.Columns) == 0 || len(m.Counts) != len(m.Rows) {
		return errors.New("confusion matrix: nothing to draw")
	}
	const cell, top, bottom, right = 44, 40, 96, 24
	names := textStyle(11, draw.XRight, draw.YCenter)
	left := vg.Points(40)
	for _, name := range m.Rows {
		left = max(left, names.Width(name)+vg.Points(40))
	}
	width := left + vg.Points(float64(cell*len(m.Columns)+right))
	height := vg.Points(float64(cell*len(m.Rows) + top + bottom))
	return save(path, width, height, func(c draw.Canvas) {
		x := func(i int) vg.Length { return c.Min.X + left + vg.Points(float64(cell*i)) }
		y := func(i int) vg.Length { return c.Max.Y - vg.Points(float64(top+cell*i)) }
		c.FillText(textStyle(13, draw.XLeft, draw.YTop), vg.Point{X: c.Min.X + vg.Points(12), Y: c.Max.Y - vg.Points(12)}, m.Title)
		for r, name := range m.Rows {
			c.FillText(names, vg.Point{X: x(0) - vg.Points(8), Y: y(r) - vg.Points(cell/2)}, name)
			all := 0
			for _, n := range m.Counts[r] {
				all += n
			}
			for k, n := range m.Counts[r] {
				drawCell(c, x(k), y(r), vg.Points(cell), n, all)
			}
		}
		slanted := textStyle(11, draw.XRight, draw.YCenter)
		slanted.Rotation = 0.785 // an eighth of a turn
		for k, name := range m.Columns {
			c.FillText(slanted, vg.Point{X: x(k) + vg.Points(cell/2+4), Y: y(len(m.Rows)) - vg.Points(8)}, name)
		}
		axis := textStyle(11, draw.XCenter, draw.YBottom)
		c.FillText(axis, vg.Point{X: (x(0) + x(len(m.Columns))) / 2, Y: c.Min.Y + vg.Points(8)}, "predicted")
		axis.Rotation, axis.YAlign = 1.5708, draw.YTop // a quarter
		c.FillText(axis, vg.Point{X: c.Min.X + vg.Points(8), Y: (y(0) + y(len(m.Rows))) / 2}, "true class")
	})
}

// drawCell draws n of all images, the square's upper left corner at (x, y).
func drawCell(c draw.Canvas, x, y, side vg.Length, n, all int) {
	share := float64(n) / float64(max(all, 1))
	from, to := [3]float64{255, 255, 255}, [3]float64{0, 0x55, 0x88}
	var mixed [3]uint8
	for i := range mixed {
		mixed[i] = uint8(from[i] + (to[i]-from[i])*share + 0.5)
	}
	c.FillPolygon(color.RGBA{mixed[0], mixed[1], mixed[2], 0xff}, []vg.Point{{X: x, Y: y}, {X: x + side, Y: y}, {X: x + side, Y: y - side}, {X: x, Y: y - side}})
	c.StrokeLines(draw.LineStyle{Color: rule, Width: vg.Points(0.5)}, []vg.Point{{X: x, Y: y}, {X: x + side, Y: y}, {X: x + side, Y: y - side}, {X: x, Y: y - side}, {X: x, Y: y}})
	style := textStyle(10, draw.XCenter, draw.YCenter)
	if share > 0.5 {
		style.Color = color.White
	}
	c.FillText(style, vg.Point{X: x + side/2, Y: y - side/2}, fmt.Sprint(n))
}
