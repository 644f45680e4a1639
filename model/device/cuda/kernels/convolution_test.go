package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/ptx"
)

// biasRows is the flag by which biases are those of rows.
const biasRows = 16

// spot is a row of the tables of convolution.cu.
type spot struct {
	y, x int
	base uint32
}

func spots(m *ptx.Memory, all []spot) uint64 {
	words := make([]uint32, 0, 4*len(all))
	for _, s := range all {
		words = append(words, uint32(int32(s.y)), uint32(int32(s.x)), s.base, 0)
	}
	return m.Words(words)
}

// convolution is one of images of channels maps to maps.
type convolution struct {
	images, channels, height, width int
	maps, kernel, stride, top, left int
	outHeight, outWidth             int
}

func (c convolution) taps() int   { return c.channels * c.kernel * c.kernel }
func (c convolution) places() int { return c.images * c.outHeight * c.outWidth }
func (c convolution) inputs() int { return c.images * c.height * c.width }

// tapSpots are where taps meet the input, in the order channel, row, column.
func (c convolution) tapSpots() (all []spot) {
	for ch := range c.channels {
		for r := range c.kernel {
			for s := range c.kernel {
				all = append(all, spot{r, s, uint32(ch * c.inputs())})
			}
		}
	}
	return all
}

// placeSpots are where the outputs' windows begin.
func (c convolution) placeSpots() (all []spot) {
	for i := range c.images {
		for y := range c.outHeight {
			for x := range c.outWidth {
				all = append(all, spot{y*c.stride - c.top, x*c.stride - c.left, uint32(i * c.height * c.width)})
			}
		}
	}
	return all
}

// at is the value of x (channels, images, height, width) that a tap meets at a place; 0 outside.
func (c convolution) at(x []float32, tap, place int) float32 {
	ch, r, s := tap/(c.kernel*c.kernel), tap/c.kernel%c.kernel, tap%c.kernel
	i, oy, ox := place/(c.outHeight*c.outWidth), place/c.outWidth%c.outHeight, place%c.outWidth
	iy, ix := oy*c.stride+r-c.top, ox*c.stride+s-c.left
	if iy < 0 || iy >= c.height || ix < 0 || ix >= c.width {
		return 0
	}
	return x[((ch*c.images+i)*c.height+iy)*c.width+ix]
}

func (c convolution) String() string {
	type plain convolution
	return fmt.Sprintf("%+v", plain(c))
}

// convolutions are AlexNet's kinds, small, and an odd one.
var convolutions = []convolution{
	{2, 3, 8, 8, 5, 3, 1, 1, 1, 8, 8},    // 3x3, as wide as the input
	{3, 2, 9, 7, 70, 5, 1, 2, 2, 9, 7},   // more maps than a tile
	{2, 3, 15, 15, 4, 11, 4, 1, 1, 2, 2}, // as the first layer's, strided
	{5, 4, 3, 3, 6, 3, 1, 0, 0, 1, 1},    // over the whole map, as a dense layer
	{1, 1, 6, 6, 3, 3, 2, 0, 0, 3, 3},    // clipped at the lower edge
	{2, 2, 5, 6, 3, 1, 2, 0, 0, 3, 3},    // taps meet every second pixel
}

func runConvolution(t *testing.T, mode string, m *ptx.Memory, rows, columns int, args ...any) {
	t.Helper()
	blocks := (rows + 63) / 64 * ((columns + 63) / 64)
	if err := load(t, "convolution", "convolve_"+mode).Run(m, ptx.Launch{Grid: [3]int{blocks}, Block: [3]int{128}, Args: args}); err != nil {
		t.Fatal(err)
	}
}

// agree compares a result with a matrix of sums of products of rounded factors.
func agree(t *testing.T, what, mode string, got []float32, rows, columns, depth int, a func(row, i int) float32, b func(i, column int) float32, after func(row int, chain float32, sum float64) (float32, float64)) {
	t.Helper()
	exact, want, scale := make([]float32, rows*columns), make([]float64, rows*columns), 0.0
	for r := range rows {
		for c := range columns {
			chain, sum := float32(0), 0.0
			for i := range depth {
				chain = kernel.FMA(a(r, i), b(i, c), chain)
				sum += float64(rounded(mode, a(r, i))) * float64(rounded(mode, b(i, c)))
			}
			if after != nil {
				chain, sum = after(r, chain, sum)
			}
			exact[r*columns+c], want[r*columns+c] = chain, sum
			scale = max(scale, math.Abs(sum))
		}
	}
	if mode == "f32" {
		sameBits(t, what, got, exact)
		return
	}
	for i := range want {
		if !(math.Abs(float64(got[i])-want[i]) <= 1e-6*scale) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestConvolutionsAreProductsOfWhatTapsMeet(t *testing.T) {
	for _, mode := range []string{"f32", "tf32", "bf16"} {
		for _, c := range convolutions {
			x, w, bias := random(c.channels*c.inputs(), 61), random(c.maps*c.taps(), 62), random(c.maps, 63)
			m := ptx.NewMemory()
			y := m.Alloc(4 * c.maps * c.places())
			runConvolution(t, mode, m, c.maps, c.places(), y, m.Floats(w), m.Floats(x), m.Floats(bias), spots(m, c.tapSpots()), spots(m, c.placeSpots()),
				uint32(c.maps), uint32(c.places()), uint32(c.taps()), uint32(c.taps()), uint32(c.places()), uint32(c.height), uint32(c.width), uint32(1), uint32(biasRows|relu), float32(1))
			agree(t, fmt.Sprintf("%s %v", mode, c), mode, m.ReadFloats(y, c.maps*c.places()), c.maps, c.places(), c.taps(),
				func(row, i int) float32 { return w[row*c.taps()+i] },
				func(i, place int) float32 { return c.at(x, i, place) },
				func(row int, chain float32, sum float64) (float32, float64) {
					return max(chain+bias[row], 0), max(sum+float64(bias[row]), 0)
				})
		}
	}
}

// The gradient of weights is that over the places of a shard's images alone.
func TestGradientsOfWeightsAreThoseOfAShard(t *testing.T) {
	for _, mode := range []string{"f32", "tf32", "bf16"} {
		for _, c := range convolutions {
			x, dy := random(c.channels*c.inputs(), 64), random(c.maps*c.places(), 65)
			perImage := c.outHeight * c.outWidth
			first, count := 0, c.places()
			if c.images > 1 {
				first, count = perImage, (c.images-1)*perImage // not the first image
			}
			m := ptx.NewMemory()
			g := m.Alloc(4 * c.maps * c.taps())
			runConvolution(t, mode, m, c.maps, c.taps(), g, m.Floats(dy)+uint64(4*first), m.Floats(x), uint64(0), spots(m, c.placeSpots()[first:first+count]), spots(m, c.tapSpots()),
				uint32(c.maps), uint32(c.taps()), uint32(count), uint32(c.places()), uint32(c.taps()), uint32(c.height), uint32(c.width), uint32(1), uint32(0), float32(1))
			agree(t, fmt.Sprintf("%s %v", mode, c), mode, m.ReadFloats(g, c.maps*c.taps()), c.maps, c.taps(), count,
				func(row, i int) float32 { return dy[row*c.places()+first+i] },
				func(i, tap int) float32 { return c.at(x, tap, first+i) }, nil)
		}
	}
}

// The way back is a convolution of the gradients of outputs with the weights turned round:
// a tap (map, row, column) meets the output whose window has the pixel there.
func TestGradientsOfInputsAreConvolutions(t *testing.T) {
	for _, c := range convolutions {
		w, dy := random(c.maps*c.taps(), 66), random(c.maps*c.places(), 67)
		kk := c.kernel * c.kernel
		depth := c.maps * kk
		turned := make([]float32, c.channels*depth) // (channels, maps, rows, columns)
		for o := range c.maps {
			for ch := range c.channels {
				for i := range kk {
					turned[ch*depth+o*kk+i] = w[(o*c.channels+ch)*kk+i]
				}
			}
		}
		var rows, columns []spot
		for o := range c.maps {
			for r := range c.kernel {
				for s := range c.kernel {
					rows = append(rows, spot{-r, -s, uint32(o * c.places())})
				}
			}
		}
		for i := range c.images {
			for y := range c.height {
				for x := range c.width {
					columns = append(columns, spot{y + c.top, x + c.left, uint32(i * c.outHeight * c.outWidth)})
				}
			}
		}
		want := make([]float64, c.channels*c.inputs())
		for o := range c.maps {
			for tap := range c.taps() {
				for place := range c.places() {
					ch, r, s := tap/kk, tap/c.kernel%c.kernel, tap%c.kernel
					i, oy, ox := place/(c.outHeight*c.outWidth), place/c.outWidth%c.outHeight, place%c.outWidth
					iy, ix := oy*c.stride+r-c.top, ox*c.stride+s-c.left
					if iy >= 0 && iy < c.height && ix >= 0 && ix < c.width {
						want[((ch*c.images+i)*c.height+iy)*c.width+ix] += float64(w[o*c.taps()+tap]) * float64(dy[o*c.places()+place])
					}
				}
			}
		}
		scale := 0.0
		for _, v := range want {
			scale = max(scale, math.Abs(v))
		}
		m := ptx.NewMemory()
		dx := m.Alloc(4 * len(want))
		runConvolution(t, "f32", m, c.channels, c.inputs(), dx, m.Floats(turned), m.Floats(dy), uint64(0), spots(m, rows), spots(m, columns),
			uint32(c.channels), uint32(c.inputs()), uint32(depth), uint32(depth), uint32(c.inputs()), uint32(c.outHeight), uint32(c.outWidth), uint32(c.stride), uint32(0), float32(1))
		for i, got := range m.ReadFloats(dx, len(want)) {
			if !(math.Abs(float64(got)-want[i]) <= 1e-6*scale) {
				t.Fatalf("%v: value %d is %v, want %v", c, i, got, want[i])
			}
		}
	}
}
