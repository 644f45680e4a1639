package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/muster-train/muster/model"
)

// The last layer of these jobs has a chunk of its own. An epoch has steps for the two
// images that each shard contributes to each, but for a last one of a single image.
const (
	factorsClasses = 8000
	factorsBatch   = 2 * shards
	factorsSteps   = 2 * (trainImages/factorsBatch + 1)
)

// factorsFlags are those of a job, and with the encoding.
func factorsFlags() (f32, factors []string) {
	f32 = []string{"--batch", strconv.Itoa(factorsBatch), "--epochs", "2", "--classes", strconv.Itoa(factorsClasses)}
	return slices.Clip(f32), slices.Clip(append(slices.Clone(f32), "--encoding", "factors"))
}

// Encoding factors has the bits of f32: the server forms the products of what travels in
// the order in which workers do.
func TestSameBitsWithEncodingFactors(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSameBitsWithEncodingFactors starts many processes")
	}
	spec := job()
	spec.Batch, spec.Epochs, spec.Classes = factorsBatch, 2, factorsClasses
	want := inProcess(t, spec, 1, 1).Hash
	t.Logf("reference: f32, one worker, one thread, in process: %s", want)

	spec.Encoding = "factors"
	flags, factors := factorsFlags()
	stream := append(factors, "--shared-memory=false")
	for _, tc := range []struct {
		name string
		run  func(t *testing.T) string
	}{
		{"f32, 3 processes", func(t *testing.T) string { return processes(t, 3, 1, false, append(flags, "--shared-memory=false")...) }},
		{"2 workers in process", func(t *testing.T) string { return inProcess(t, spec, 2, 1).Hash }},
		{"2 processes, sharing memory", func(t *testing.T) string { return processes(t, 2, 1, false, factors...) }},
		{"1 process of 2 threads", func(t *testing.T) string { return processes(t, 1, 2, false, stream...) }},
		{"3 processes", func(t *testing.T) string { return processes(t, 3, 1, false, stream...) }},
		{"8 processes pinned to a shard each", func(t *testing.T) string { return processes(t, 8, 1, true, stream...) }},
		{"workers that share memory and others", func(t *testing.T) string { return partlyShared(t, factors...) }},
		{"a worker killed in mid-epoch", func(t *testing.T) string { return workerKilled(t, stream...) }},
		{"the server killed in mid-epoch and started again", func(t *testing.T) string { return serverKilled(t, factorsSteps, stream...) }},
		{"muster train --workers 2", func(t *testing.T) string { return train(t, append(factors, "--workers", "2")...) }},
		{"a server on portable kernels", func(t *testing.T) string { return portableServer(t, stream...) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.run(t); got != want {
				t.Errorf("parameters sha256:%s, want %s", got, want)
			}
		})
	}
}

// portableServer has a server form products without what the workers' kernels use.
func portableServer(t *testing.T, more ...string) string {
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	const kernels = "MUSTER_KERNEL"
	before := os.Getenv(kernels)
	t.Setenv(kernels, "portable")
	server := start(t, "paramserver", append(append(serverFlags(dir), "--listen", address), more...)...)
	t.Setenv(kernels, before)
	all := workers(t, address, 2, 1, false)
	hash := server.hash()
	ended(t, all)
	return hash
}

// Of a worker that owns all shards, less comes to the server than a sum would be: all but
// one chunk, and its factors.
func TestFactorsAreFewerBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("TestFactorsAreFewerBytes starts processes")
	}
	network, err := model.New("lenet5", model.Options{Classes: factorsClasses})
	if err != nil {
		t.Fatal(err)
	}
	of := network.Factored(factorsBatch)
	if len(of) != 1 {
		t.Fatalf("factored are %+v, the test wants one layer", of)
	}
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	_, factors := factorsFlags()
	server := start(t, "paramserver", append(append(serverFlags(dir), "--listen", address, "--shared-memory=false"), factors...)...)
	all := workers(t, address, 1, 1, false)
	status := reach(t, api(t, address), 8)
	full := uint64(4 * network.Layout.Size())
	a := full - uint64(4*of[0].Whole().Len()) + uint64(4*of[0].Values(factorsBatch)) // of a step
	// An epoch's last step is of one image, and so has less.
	if least, most := a*(status.Step-2), a*(status.Step+1); status.GradientBytes < least || status.GradientBytes > most || full*status.Step <= most {
		t.Errorf("%d bytes of gradients by step %d: want %d to %d, sums are %d", status.GradientBytes, status.Step, least, most, full*status.Step)
	}
	server.hash()
	ended(t, all)
}
