//go:build unix

package cpu_test

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
)

// BenchmarkStep measures a whole Gradient at the article's batch, 8 shards of
// 16 images summed to one node, on one thread and on all cores.
func BenchmarkStep(b *testing.B) {
	for _, name := range []string{"alexnet", "alexnet-lrn", "lenet5", "alexnet-cifar"} {
		for _, threads := range []int{1, runtime.GOMAXPROCS(0)} {
			b.Run(fmt.Sprintf("%s/threads=%d/%s", name, threads, kernel.Name()), func(b *testing.B) {
				benchmarkStep(b, name, threads)
			})
		}
	}
}

func benchmarkStep(b *testing.B, name string, threads int) {
	const shards, images = 8, 16
	n, err := model.New(name, model.Options{})
	if err != nil {
		b.Fatal(err)
	}
	d, err := cpu.New(threads)
	if err != nil {
		b.Fatal(err)
	}
	p, err := d.Compile(n.Graph, device.Options{Images: shards * images, Nodes: 1})
	if err != nil {
		b.Fatal(err)
	}
	n.Initialise(p.Parameters(), 1)
	all := params.Range{First: 0, End: n.Graph.Parameters}

	batch := batchOf(n, slices.Repeat([]int{images}, shards))
	b.ReportAllocs()
	if _, err := p.Gradient(batch, nil); err != nil { // touches all memory
		b.Fatal(err)
	}
	used := cpuTime()
	for b.Loop() {
		p.Loaded(all)
		if _, err := p.Gradient(batch, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime()-used)/float64(b.N)/1e6, "cpu-ms/op")
	b.ReportMetric(float64(shards*images)*float64(b.N)/b.Elapsed().Seconds(), "images/s")
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpuTime returns the processor time that the process has used: on a machine
// that is shared, a steadier measure than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
