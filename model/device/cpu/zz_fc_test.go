package cpu

import (
	"syscall"
	"testing"
	"time"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

func now() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestFC(t *testing.T) {
	s := device.Shape{C: 4096, H: 1, W: 1}
	g := &device.Graph{Input: s, Classes: 4096, Parameters: 4096*4096*2 + 8192}
	for i := range 2 {
		o := i * (4096*4096 + 4096)
		g.Ops = append(g.Ops, &device.Dense{Place: device.Place{In: s, Out: s}, Weight: params.Range{First: o, End: o + 4096*4096}, Bias: params.Range{First: o + 4096*4096, End: o + 4096*4097}})
	}
	d, _ := New(1)
	pl, err := d.Compile(g, device.Options{Images: 128, Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := pl.(*plan)
	_ = p
	b := &device.Batch{Images: make([]float32, 128*4096), Labels: make([]int32, 128), Index: make([]uint32, 128), Nodes: []params.Node{params.Root(8)}}
	for i := range 8 {
		b.Shards = append(b.Shards, device.ShardImages{Shard: i, Images: 16})
	}
	for i := range p.values {
		p.values[i] = float32(i%7) * 0.01
	}
	if _, err := p.Gradient(b, nil); err != nil {
		t.Fatal(err)
	}
	p.batch, p.images, p.blocks = b, 128, 8
	l := p.layers[1].(*matmul)
	for range 3 {
		t0 := now()
		l.forward(true)
		t1 := now()
		l.gradient(p.gradients[0])
		t2 := now()
		l.backward(p.gradients[1], p.gradients[0])
		t3 := now()
		t.Logf("forward %.1f dW %.1f dX %.1f", (t1 - t0).Seconds()*1e3, (t2 - t1).Seconds()*1e3, (t3 - t2).Seconds()*1e3)
	}
}
