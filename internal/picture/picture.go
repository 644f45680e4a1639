package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"slices"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"
)

// Bounds of a file.
const (
	MaxBytes  = 64 << 20
	MaxPixels = 100 << 20
)

// formats are those that Decode reads.
var formats = []string{"jpeg", "png", "gif", "webp"}

// Errors that Decode wraps.
var (
	ErrFormat = errors.New("not a JPEG, PNG, GIF or WebP picture")
	ErrLarge  = errors.New("too large a picture")
)

// Decode reads a picture to the end of r.
func Decode(r io.Reader) (image.Image, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%w: more than %d MiB", ErrLarge, MaxBytes>>20)
	}
	header, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !slices.Contains(formats, format) { // a decoder that another package brings along
		return nil, fmt.Errorf("%w: %s", ErrFormat, format)
	}
	if w, h := int64(header.Width), int64(header.Height); w < 1 || h < 1 || w*h > MaxPixels {
		return nil, fmt.Errorf("%w: %dx%d pixels, 1 to %d are allowed", ErrLarge, w, h, MaxPixels)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	switch canvas := image.Rect(0, 0, header.Width, header.Height); {
	case format == "jpeg":
		img = upright(img, orientation(data))
	case format == "gif" && img.Bounds() != canvas: // its first frame is a part of the whole
		whole := image.NewNRGBA(canvas)
		draw.Draw(whole, img.Bounds(), img, img.Bounds().Min, draw.Src)
		img = whole
	}
	return img, nil
}

// Square returns the central square of img, scaled to side pixels, as
// (3, side, side): red, green, blue. A picture that is side pixels wide and high
// keeps its values.
func Square(img image.Image, side int) []byte {
	b := img.Bounds()
	n := min(b.Dx(), b.Dy())
	square := image.Rect(0, 0, n, n).Add(image.Pt(b.Min.X+(b.Dx()-n)/2, b.Min.Y+(b.Dy()-n)/2))
	canvas := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.Draw(canvas, canvas.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	if n == side {
		draw.Draw(canvas, canvas.Bounds(), img, square.Min, draw.Over)
	} else {
		// When shrinking, its kernel spans all source pixels: a mean, not a choice.
		draw.CatmullRom.Scale(canvas, canvas.Bounds(), img, square, draw.Over, nil)
	}
	out := make([]byte, 3*side*side)
	for y := range side {
		for x := range side {
			for c := range 3 {
				out[(c*side+y)*side+x] = canvas.Pix[canvas.PixOffset(x, y)+c]
			}
		}
	}
	return out
}
