package bench

import (
	"testing"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
)

// Over a connection a worker sends what a real one would: each of its shards' factors, and
// the sums of all other chunks; where memory is shared, sums alone.
func TestIdleWorkersSendFactorsOverConnections(t *testing.T) {
	network, err := model.New("alexnet-cifar", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := ExchangeConfig{Network: network, Shards: 4, Workers: 2, Encoding: wire.FACTORS, Transports: TransportsHere(), Turns: 1, Dir: t.TempDir()}
	layout, sums, whole := network.Layout, 0, 0
	for chunk := range layout.Chunks() {
		whole += 4 * layout.Live(chunk)
	}
	sums = whole
	for _, f := range network.Factored(cfg.imagesOfShard() * cfg.Shards) {
		first, end := f.Chunks()
		for chunk := first; chunk < end; chunk++ {
			sums -= 4 * layout.Live(chunk)
		}
		sums += 2 * 4 * f.Values(cfg.imagesOfShard()) // of two shards
	}
	if sums >= whole {
		t.Fatalf("%d bytes with factors, %d without: the case does not tell", sums, whole)
	}
	x, err := MeasureExchange(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range x.Steps {
		want := whole
		if s.Transport == "unix" || s.Transport == "tcp" {
			want = sums
		}
		if s.Up != want || s.Down != x.Bytes {
			t.Errorf("%s: %d bytes up and %d down, want %d and %d", s.Transport, s.Up, s.Down, want, x.Bytes)
		}
	}
}

// On emulated links what goes is counted, so that bytes are not only said: a worker's step
// takes its factors and the other chunks, and little about them. All of them are due when
// the last of their chunks is.
func TestFactorsPassTheLinks(t *testing.T) {
	network, err := model.New("alexnet-cifar", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const workers, shards = 2, 4
	cfg := ScaleConfig{Network: network, Workers: workers, Shards: shards, Encoding: wire.FACTORS, Computes: []Compute{{Name: "a", Time: 1e7}}, Bandwidth: 1e11, Steps: 1, Dir: t.TempDir()}
	scaled, err := MeasureScale(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	batch := network.Recipe.Batch // each worker's
	want := 0
	w := idle{layout: network.Layout, encoding: wire.FACTORS, images: batch * workers / shards, factored: network.Factored(batch * workers)}
	for range shards / workers {
		w.now.mine = append(w.now.mine, 0)
	}
	if len(w.factored) == 0 {
		t.Fatal("nothing is factored: the case does not tell")
	}
	for chunk := range network.Layout.Chunks() {
		f, goes := w.factors(chunk)
		switch {
		case f == nil:
			want += 4 * network.Layout.Live(chunk)
		case goes:
			want += 4 * f.Values(batch)
		}
	}
	if up := scaled[0].Up; up < float64(want) || up > 1.05*float64(want) {
		t.Errorf("a worker sent %v bytes in a step, want %d and little more", up, want)
	}
	if down, size := scaled[0].Down, 4*float64(network.Layout.Size()); down < size || down > 1.05*size {
		t.Errorf("a worker received %v bytes in a step, want %v and little more", down, size)
	}
}
