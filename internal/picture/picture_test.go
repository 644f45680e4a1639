package picture

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"
	"testing"
)

// halves is a picture whose left half is one colour and whose right half another.
func halves(w, h int, left, right color.Color) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	draw.Draw(img, image.Rect(0, 0, w/2, h), image.NewUniform(left), image.Point{}, draw.Src)
	draw.Draw(img, image.Rect(w/2, 0, w, h), image.NewUniform(right), image.Point{}, draw.Src)
	return img
}

var (
	red  = color.NRGBA{0xff, 0, 0, 0xff}
	blue = color.NRGBA{0, 0, 0xff, 0xff}
)

func encode(t testing.TB, format string, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case "png":
		err = png.Encode(&b, img)
	case "jpeg":
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 100})
	case "gif":
		err = gif.Encode(&b, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEveryFormatIsRead(t *testing.T) {
	for _, format := range []string{"png", "jpeg", "gif"} {
		img, err := Decode(bytes.NewReader(encode(t, format, halves(64, 32, red, blue))))
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		p := Square(img, 16)
		left, right := [3]byte{p[0], p[256], p[512]}, [3]byte{p[15], p[256+15], p[512+15]}
		if left[0] < 240 || left[2] > 15 || right[0] > 15 || right[2] < 240 {
			t.Errorf("%s: left %v, right %v; want red and blue", format, left, right)
		}
	}
}

// TestWebPIsRead decodes 4x4 pixels, losslessly written by another program.
func TestWebPIsRead(t *testing.T) {
	const file = "UklGRjoAAABXRUJQVlA4TC4AAAAvA8AAAH9AkG0zsCLcH+kMwzPI81+EDADLO4AgAGLNggULJi1YsGAkov+BsJoP"
	img, err := Decode(base64.NewDecoder(base64.StdEncoding, strings.NewReader(file)))
	if err != nil {
		t.Fatal(err)
	}
	p := Square(img, 4)
	for y := range 4 {
		for x := range 4 {
			if got, want := [3]byte{p[y*4+x], p[16+y*4+x], p[32+y*4+x]}, [3]byte{byte(60 * x), byte(60 * y), 200}; got != want {
				t.Errorf("pixel %d,%d is %v, want %v", x, y, got, want)
			}
		}
	}
}

// TestOnlyTheFormatsNamedAreRead hands over a TIFF, which the package that draws
// charts brings a decoder for.
func TestOnlyTheFormatsNamedAreRead(t *testing.T) {
	image.RegisterFormat("tiff", "II*\x00", func(io.Reader) (image.Image, error) { return halves(4, 4, red, blue), nil },
		func(io.Reader) (image.Config, error) { return image.Config{Width: 4, Height: 4}, nil })
	if _, err := Decode(strings.NewReader("II*\x00\x08\x00\x00\x00")); !errors.Is(err, ErrFormat) {
		t.Errorf("a TIFF: %v, want ErrFormat", err)
	}
}

// TestAPartialFirstFrameStandsInItsCanvas has a GIF of 64x64 whose first frame
// is 8x8 of its middle.
func TestAPartialFirstFrameStandsInItsCanvas(t *testing.T) {
	frame := image.NewPaletted(image.Rect(28, 28, 36, 36), color.Palette{red})
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{frame}, Delay: []int{0}, Config: image.Config{Width: 64, Height: 64}}); err != nil {
		t.Fatal(err)
	}
	img, err := Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	p := Square(img, 64)
	at := func(x, y int) [3]byte { return [3]byte{p[y*64+x], p[4096+y*64+x], p[8192+y*64+x]} }
	if at(0, 0) != [3]byte{255, 255, 255} || at(32, 32) != [3]byte{255, 0, 0} || at(27, 32) != [3]byte{255, 255, 255} {
		t.Errorf("corner %v, middle %v, beside the frame %v; want white, red, white", at(0, 0), at(32, 32), at(27, 32))
	}
}

func TestAPictureOfTheSizeWantedIsUnchanged(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	for i := range img.Pix {
		img.Pix[i] = byte(i * 7)
		if i%4 == 3 {
			img.Pix[i] = 0xff
		}
	}
	back, err := Decode(bytes.NewReader(encode(t, "png", img)))
	if err != nil {
		t.Fatal(err)
	}
	p := Square(back, 32)
	for y := range 32 {
		for x := range 32 {
			for c := range 3 {
				if got, want := p[(c*32+y)*32+x], img.Pix[img.PixOffset(x, y)+c]; got != want {
					t.Fatalf("channel %d of pixel %d,%d is %d, want %d", c, x, y, got, want)
				}
			}
		}
	}
}

func TestTheCentralSquareIsTaken(t *testing.T) {
	wide := image.NewNRGBA(image.Rect(10, 20, 110, 60)) // 100x40, away from the origin
	draw.Draw(wide, wide.Bounds(), image.NewUniform(red), image.Point{}, draw.Src)
	draw.Draw(wide, image.Rect(40, 20, 80, 60), image.NewUniform(blue), image.Point{}, draw.Src)
	for _, img := range []image.Image{wide, turned{wide}} {
		for i, v := range Square(img, 20) {
			if want := byte(0xff * (i / 400 / 2)); v != want {
				t.Fatalf("%v: value %d is %d, want %d: blue alone", img.Bounds(), i, v, want)
			}
		}
	}
}

// turned is a picture on its side.
type turned struct{ image.Image }

func (t turned) Bounds() image.Rectangle {
	b := t.Image.Bounds()
	return image.Rect(b.Min.Y, b.Min.X, b.Max.Y, b.Max.X)
}
func (t turned) At(x, y int) color.Color { return t.Image.At(y, x) }

func TestShrinkingAverages(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			img.Set(x, y, color.Gray{byte(255 * ((x + y) % 2))})
		}
	}
	for i, v := range Square(img, 8) {
		if v < 120 || v > 135 {
			t.Fatalf("value %d of a fine chequerboard is %d, want grey", i, v)
		}
	}
}

func TestWhiteShowsThrough(t *testing.T) {
	for _, side := range []int{8, 16} {
		for i, v := range Square(image.NewNRGBA(image.Rect(0, 0, 16, 16)), side) {
			if v != 0xff {
				t.Fatalf("side %d: value %d of a transparent picture is %d, want white", side, i, v)
			}
		}
	}
}

func TestAJPEGIsTurnedUpright(t *testing.T) {
	// Each quarter of the upright picture has a grey of its own.
	upright := image.NewGray(image.Rect(0, 0, 32, 16))
	greys := []byte{20, 90, 160, 230}
	for y := range 16 {
		for x := range 32 {
			upright.SetGray(x, y, color.Gray{greys[x/16+2*(y/8)]})
		}
	}
	// How a camera stores it for each orientation, by EXIF's definition: where
	// row 0 and column 0 of what is stored lie in the upright picture.
	stored := map[int]func(x, y int) (int, int){ // from stored to upright
		1: func(x, y int) (int, int) { return x, y },
		2: func(x, y int) (int, int) { return 31 - x, y },
		3: func(x, y int) (int, int) { return 31 - x, 15 - y },
		4: func(x, y int) (int, int) { return x, 15 - y },
		5: func(x, y int) (int, int) { return y, x },
		6: func(x, y int) (int, int) { return 31 - y, x },
		7: func(x, y int) (int, int) { return 31 - y, 15 - x },
		8: func(x, y int) (int, int) { return y, 15 - x },
	}
	for o, place := range stored {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			w, h := 32, 16
			if o >= 5 {
				w, h = h, w
			}
			img := image.NewGray(image.Rect(0, 0, w, h))
			for y := range h {
				for x := range w {
					ux, uy := place(x, y)
					img.SetGray(x, y, upright.GrayAt(ux, uy))
				}
			}
			got, err := Decode(bytes.NewReader(withOrientation(encode(t, "jpeg", img), order, uint16(o))))
			if err != nil {
				t.Fatal(err)
			}
			if got.Bounds().Size() != upright.Bounds().Size() {
				t.Errorf("orientation %d: %v, want 32x16", o, got.Bounds().Size())
				continue
			}
			for i, want := range greys {
				r, _, _, _ := got.At(8+16*(i%2), 4+8*(i/2)).RGBA()
				if d := int(r>>8) - int(want); d < -6 || d > 6 {
					t.Errorf("orientation %d: quarter %d is %d, want %d", o, i, r>>8, want)
				}
			}
		}
	}
}

// withOrientation puts an EXIF segment behind a JPEG's first marker.
func withOrientation(jpeg []byte, order binary.AppendByteOrder, o uint16) []byte {
	mark := "II"
	if order == binary.AppendByteOrder(binary.BigEndian) {
		mark = "MM"
	}
	tiff := order.AppendUint32(order.AppendUint16([]byte(mark), 42), 8)
	tiff = order.AppendUint16(tiff, 2)
	for _, e := range [][2]uint16{{0x0100, 7}, {orientationTag, o}} { // another tag before it
		tiff = order.AppendUint16(tiff, e[0])
		tiff = order.AppendUint32(order.AppendUint16(tiff, 3), 1)
		tiff = order.AppendUint16(order.AppendUint16(tiff, e[1]), 0)
	}
	body := append([]byte("Exif\x00\x00"), tiff...)
	segment := append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2)), body...)
	return append(append(append([]byte{}, jpeg[:2]...), segment...), jpeg[2:]...)
}

func TestWhatIsNoPictureIsRefused(t *testing.T) {
	whole := encode(t, "png", halves(8, 8, red, blue))
	// A header that promises more pixels than memory should be given to.
	bomb := append([]byte{}, whole...)
	binary.BigEndian.PutUint32(bomb[16:], 60000)
	binary.BigEndian.PutUint32(bomb[20:], 60000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	for name, tc := range map[string]struct {
		data []byte
		want error
		says string
	}{
		"empty": {nil, ErrFormat, ""},
		"text":  {[]byte("this is no picture"), ErrFormat, "not a JPEG, PNG, GIF or WebP picture"},
		"cut":   {whole[:len(whole)-20], ErrFormat, ""},
		"bomb":  {bomb, ErrLarge, "60000x60000"},
		"heavy": {make([]byte, MaxBytes+1), ErrLarge, "64 MiB"},
	} {
		img, err := Decode(bytes.NewReader(tc.data))
		if !errors.Is(err, tc.want) || img != nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %v that says %q", name, err, tc.want, tc.says)
		}
	}
}

func FuzzDecode(f *testing.F) {
	img := halves(5, 4, red, blue)
	for _, format := range []string{"png", "jpeg", "gif"} {
		f.Add(encode(f, format, img))
	}
	f.Add(withOrientation(encode(f, "jpeg", img), binary.BigEndian, 6))
	f.Add([]byte("RIFF\x00\x00\x00\x00WEBPVP8 "))
	f.Fuzz(func(t *testing.T, data []byte) {
		header, _, err := image.DecodeConfig(bytes.NewReader(data))
		if err == nil && header.Width*header.Height > 1<<20 {
			t.Skip("a large one says no more and takes its time")
		}
		img, err := Decode(bytes.NewReader(data))
		if (img == nil) == (err == nil) {
			t.Fatalf("%v with %v", img, err)
		}
		if err == nil && len(Square(img, 8)) != 3*8*8 {
			t.Fatal("not a square of 8 pixels")
		}
	})
}
