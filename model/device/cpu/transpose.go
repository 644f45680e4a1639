package cpu

// transposeTask makes the panels of one pixel of one lane block for the
// gradient of the weights.
type transposeTask matmul

func (t *transposeTask) do(_, unit int) {
	l := (*matmul)(t)
	d := &l.dw
	x := l.x[unit*l.in.C*lanes : (unit+1)*l.in.C*lanes]
	per := d.panels * lanes * lanes
	for g := range l.groups {
		dst := d.x[(unit*l.groups+g)*per : (unit*l.groups+g+1)*per]
		for first := 0; first < d.columns; first += lanes {
			panel := (*[lanes * lanes]float32)(dst[first*lanes:])
			sources := d.source[first:min(first+lanes, d.columns)]
			for j := 0; j < len(sources); j += quad {
				columns := [quad]*[lanes]float32{&outside, &outside, &outside, &outside}
				for i, at := range sources[j:min(j+quad, len(sources))] {
					columns[i] = (*[lanes]float32)(x[g*l.cg*lanes+at:])
				}
				transpose(panel, j, &columns)
			}
		}
	}
}

// quad is how many columns are transposed together.
const quad = 4

// outside is the column of taps outside the image, and of none.
var outside [lanes]float32

// transpose writes columns j to j+3 of a panel, j a multiple of 4.
func transpose(panel *[lanes * lanes]float32, j int, columns *[quad]*[lanes]float32) {
	a, b, c, d := columns[0], columns[1], columns[2], columns[3]
	for lane := range lanes {
		row := (*[quad]float32)(panel[lane*lanes+j:])
		row[0], row[1], row[2], row[3] = a[lane], b[lane], c[lane], d[lane]
	}
}
