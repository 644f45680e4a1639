package dataset

// resize enlarges src (3, 32, 32) to dst (3, side, side), side > 32, by bilinear
// interpolation with half-pixel centres and no anti-aliasing, as PyTorch's
// interpolate(mode="bilinear", align_corners=False) does: output pixel i looks
// at (i+0.5)*32/side - 0.5, not below 0, and the last pixel is repeated beyond
// the edge.
func resize(dst []float32, src *[PixelBytes]float32, side int) {
	scale := float32(Side) / float32(side)
	for y := range side {
		y0, y1, fy := source(y, scale)
		for x := range side {
			x0, x1, fx := source(x, scale)
			for c := range Channels {
				p := (*[plane]float32)(src[c*plane:])
				top := lerp(p[y0*Side+x0], p[y0*Side+x1], fx)
				bottom := lerp(p[y1*Side+x0], p[y1*Side+x1], fx)
				dst[(c*side+y)*side+x] = lerp(top, bottom, fy)
			}
		}
	}
}

// source returns the two source pixels that output pixel i lies between, and
// how far it is from the first to the second, in [0, 1).
func source(i int, scale float32) (first, second int, fraction float32) {
	at := max(float32((float32(i)+0.5)*scale)-0.5, 0)
	first = min(int(at), Side-1)
	return first, min(first+1, Side-1), at - float32(first)
}

// lerp returns a*(1-f) + b*f, each product rounded by itself so that no
// compiler fuses them.
func lerp(a, b, f float32) float32 {
	return float32(a*(1-f)) + float32(b*f)
}
