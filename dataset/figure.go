package dataset

import "github.com/muster-train/muster/internal/philox"

// The kinds of figure. Each looks the same kind in a mirror.
const (
	stripes = iota
	bars
	checks
	dots
	clouds
	disc
	square
	triangle
	cross
	ring
)

// figure is one drawing: a test of which points belong to it, in its own
// coordinates (u, v) in 1/256 pixel, turned about its centre.
type figure struct {
	kind             int
	centreX, centreY int // in 1/256 pixel
	cos, sin         int // of the turn, times 16384
	size             int // a texture's period or a shape's radius, in 1/256 pixel
	lattice          [10][10]int
}

func randomFigure(kind int, s *philox.Stream) figure {
	f := figure{kind: kind}
	angle := s.IntN(256)
	switch kind {
	case stripes, bars:
		angle = s.IntN(31) - 15 // up to 21 degrees: rows stay rows
	case clouds:
		for y := range f.lattice {
			for x := range f.lattice[y] {
				f.lattice[y][x] = s.IntN(256)
			}
		}
	}
	f.sin, f.cos = sine(angle), sine(angle+64)
	if kind <= clouds {
		f.centreX, f.centreY = s.IntN(Side*256), s.IntN(Side*256)
		f.size = 4*256 + s.IntN(6*256)
	} else {
		f.centreX, f.centreY = (Side/2-6)*256+s.IntN(12*256), (Side/2-6)*256+s.IntN(12*256)
		f.size = 6*256 + s.IntN(7*256)
	}
	return f
}

// cover returns how many of four points of pixel (x, y) the figure covers.
func (f *figure) cover(x, y int) int {
	// (a, b) is the first point in figure coordinates times 16384; the others are
	// half a pixel right, down, and both.
	dx, dy := x*256+64-f.centreX, y*256+64-f.centreY
	a, b := dx*f.cos+dy*f.sin, dy*f.cos-dx*f.sin
	cos, sin := 128*f.cos, 128*f.sin
	n := 0
	if f.covers(a>>14, b>>14) {
		n++
	}
	if f.covers((a+cos)>>14, (b-sin)>>14) {
		n++
	}
	if f.covers((a+sin)>>14, (b+cos)>>14) {
		n++
	}
	if f.covers((a+cos+sin)>>14, (b+cos-sin)>>14) {
		n++
	}
	return n
}

func (f *figure) covers(u, v int) bool {
	r := f.size
	switch f.kind {
	case stripes:
		return half(v, r)
	case bars:
		return half(u, r)
	case checks:
		return half(u, r) != half(v, r)
	case dots:
		u, v = wrap(u, r)-r/2, wrap(v, r)-r/2
		return 10*(u*u+v*v) < r*r
	case clouds:
		return f.height(u, v) > 128*256
	case disc:
		return u*u+v*v < r*r
	case square:
		return 8*max(u, -u, v, -v) < 7*r
	case triangle:
		return 2*v > -r && 1774*max(u, -u)/1024+v < r
	case cross:
		narrow, wide := min(max(u, -u), max(v, -v)), max(u, -u, v, -v)
		return 3*narrow < r && wide < r
	default: // ring
		d := u*u + v*v
		return d < r*r && 2*d > r*r
	}
}

// height interpolates the lattice, of nodes f.size apart, repeated beyond its
// ends: 0 to 255 times 256.
func (f *figure) height(u, v int) int {
	n, r := len(f.lattice), f.size
	u, v = wrap(u, n*r), wrap(v, n*r)
	i, j, a, b := u/r, v/r, u%r*256/r, v%r*256/r
	k, l := (i+1)%n, (j+1)%n
	top := f.lattice[j][i]*(256-a) + f.lattice[j][k]*a
	bottom := f.lattice[l][i]*(256-a) + f.lattice[l][k]*a
	return (top*(256-b) + bottom*b) >> 8
}

// wrap returns a modulo n, in [0, n), for n in [1024, 2^20] and a not below
// -2^20: all points that a figure is asked about.
func wrap(a, n int) int {
	return int(uint32(a+n<<10) % uint32(n))
}

// half tells whether a falls into the first half of a period.
func half(a, period int) bool { return 2*wrap(a, period) < period }

// sine returns 16384 times the sine of angle/256 of a turn, rounded.
func sine(angle int) int {
	switch angle &= 255; {
	case angle < 64:
		return quarter[angle]
	case angle < 128:
		return quarter[128-angle]
	default:
		return -sine(angle - 128)
	}
}

// quarter is 16384 * sin(i/256 turn), rounded, for the first quarter of a turn.
var quarter = [65]int{
	0, 402, 804, 1205, 1606, 2006, 2404, 2801, 3196, 3590, 3981, 4370, 4756,
	5139, 5520, 5897, 6270, 6639, 7005, 7366, 7723, 8076, 8423, 8765, 9102, 9434,
	9760, 10080, 10394, 10702, 11003, 11297, 11585, 11866, 12140, 12406, 12665, 12916, 13160,
	13395, 13623, 13842, 14053, 14256, 14449, 14635, 14811, 14978, 15137, 15286, 15426, 15557,
	15679, 15791, 15893, 15986, 16069, 16143, 16207, 16261, 16305, 16340, 16364, 16379, 16384,
}
