package cpu

import "github.com/muster-train/muster/internal/kernel"

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
				l.p.addNode(stack[(top-1)*n:top*n], stack[top*n:(top+1)*n])
				continue
			}
			leaf := stack[top*n : (top+1)*n]
			l.biasShard(leaf, first, sums.spans[step])
			l.p.endLeaf(leaf)
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
	perPixel := l.out.C * lanes
	dy := l.dw.dy[first*lanes:]
	if block, lane := images.first/lanes, images.first%lanes; images.end <= (block+1)*lanes {
		kernel.AddLanes(sum, dy[block*l.outSize+lane:], images.end-images.first, l.pixels, perPixel)
		return
	}
	for pixel := range l.pixels {
		for i := images.first; i < images.end; {
			block, lane := i/lanes, i%lanes
			n := min(lanes-lane, images.end-i)
			i += n
			kernel.AddLanes(sum, dy[block*l.outSize+pixel*perPixel+lane:], n, 1, 0)
		}
	}
}
