package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Extensions are those that a picture's file may have.
var Extensions = []string{".png", ".svg"}

// Check returns an error unless a picture can be written to path: the extension
// must be known and the directory be there.
func Check(path string) error {
	if e := filepath.Ext(path); e != ".png" && e != ".svg" {
		return fmt.Errorf("%q: the extension must be one of %s", path, strings.Join(Extensions, ", "))
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || !info.IsDir() {
		return fmt.Errorf("%q: its directory is not there", path)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%q: that is no file", path)
	}
	return nil
}

// dotsPerInch makes a PNG sharp on screens of twice the usual density.
const dotsPerInch = 160

// save draws a picture of a size and writes it to path.
func save(path string, width, height vg.Length, paint func(draw.Canvas)) error {
	var picture io.WriterTo
	switch filepath.Ext(path) {
	case ".svg":
		c := vgsvg.New(width, height)
		background(draw.New(c))
		paint(draw.New(c))
		picture = c
	case ".png":
		c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dotsPerInch))
		paint(draw.New(c))
		picture = vgimg.PngCanvas{Canvas: c}
	default:
		return Check(path)
	}
	var data bytes.Buffer
	if _, err := picture.WriteTo(&data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := renameio.WriteFile(path, data.Bytes(), 0o644, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("picture: %w", err)
	}
	return nil
}

// background makes an SVG white, as a PNG is.
func background(c draw.Canvas) {
	c.FillPolygon(color.White, []vg.Point{
		{X: c.Min.X, Y: c.Min.Y},
		{X: c.Max.X, Y: c.Min.Y},
		{X: c.Max.X, Y: c.Max.Y},
		{X: c.Min.X, Y: c.Max.Y},
	})
}

// colours of series, after Okabe and Ito, ordered so that neighbours differ in
// lightness.
var colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, // green
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // purple
	color.RGBA{0x33, 0x33, 0x33, 0xff}, // grey
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermilion
	color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky
}

func colour(i int) color.Color { return colours[i%len(colours)] }

var (
	ink  = color.Gray{0x22} // text
	rule = color.Gray{0xdd} // lines behind the data
)

// sans is the one typeface of all pictures.
func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// textStyle is text of a size about a point.
func textStyle(size vg.Length, x draw.XAlignment, y draw.YAlignment) draw.TextStyle {
	return draw.TextStyle{Color: ink, Font: sans(size), XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler}
}

// newPlot is an empty plot in the style of all.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font, p.Title.TextStyle.Color = sans(13), ink
	p.Title.Padding = vg.Points(8)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font, a.Label.TextStyle.Color = sans(11), ink
		a.Tick.Label.Font, a.Tick.Label.Color = sans(10), ink
		a.LineStyle.Color, a.Tick.LineStyle.Color = color.Gray{0x88}, color.Gray{0x88}
		a.LineStyle.Width, a.Tick.LineStyle.Width = vg.Points(0.5), vg.Points(0.5)
	}
	return p
}
