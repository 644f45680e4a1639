package cpu

// biasChannels is how many biases a unit of work takes.
const biasChannels = 16

func (l *matmul) biasUnits() int { return (l.out.C + biasChannels - 1) / biasChannels }

// biasGradient writes the gradients of some biases, for all nodes.
func (l *matmul) biasGradient(thread, unit int) {
	sums := &l.p.sums
	first := unit * biasChannels
	n := min(biasChannels, l.out.C-first)
	stack := l.p.scratch[thread]
	for node := range sums.ends {
		top := 0
		for _, step := range sums.program(node) {
			if step == addTop {
				top--
				sum, right := stack[(top-1)*n:top*n], stack[top*n:(top+1)*n]
				for i := range sum {
					sum[i] += right[i]
				}
				continue
			}
			l.biasShard(stack[top*n:(top+1)*n], first, sums.spans[step])
			top++
		}
		if top == 0 {
			clear(stack[:n])
		}
		copy(l.bias.Of(l.p.totals[node])[first:], stack[:n])
	}
}

// biasShard writes to sum the gradients of the biases from first on of one
// shard, each added up over the output pixels and the images of each.
func (l *matmul) biasShard(sum []float32, first int, images span) {
	clear(sum)
	for pixel := range l.pixels {
		for i := images.first; i < images.end; {
			block, lane := i/lanes, i%lanes
			n := min(lanes-lane, images.end-i)
			i += n
			dy := l.dw.dy[block*l.outSize+(pixel*l.out.C+first)*lanes+lane:]
			k := 0
			for ; k+4 <= len(sum); k += 4 {
				// Four sums side by side, for each waits for its last addition.
				a, b, c, d := dy[k*lanes:][:n], dy[(k+1)*lanes:][:n], dy[(k+2)*lanes:][:n], dy[(k+3)*lanes:][:n]
				s0, s1, s2, s3 := sum[k], sum[k+1], sum[k+2], sum[k+3]
				for j := range n {
					s0 += a[j]
					s1 += b[j]
					s2 += c[j]
					s3 += d[j]
				}
				sum[k], sum[k+1], sum[k+2], sum[k+3] = s0, s1, s2, s3
			}
			for ; k < len(sum); k++ {
				for _, v := range dy[k*lanes:][:n] {
					sum[k] += v
				}
			}
		}
	}
}
