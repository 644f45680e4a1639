package paramserver

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

const encodingShared = musterv1.Encoding_ENCODING_SHARED

// neighbour is a worker on the server's machine, by the generated code.
type neighbour struct {
	*testing.T
	layout     *params.Layout
	stream     rawStream
	parameters *wire.Segment // the server's
	sums       *wire.Segment // its own
}

// newNeighbour joins with memory of so many values a vector, and opens its stream.
func newNeighbour(t *testing.T, r *running, conn *grpc.ClientConn, id string, values int) *neighbour {
	t.Helper()
	n := &neighbour{T: t, layout: r.network.Layout}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	api := musterv1.NewMusterServiceClient(conn)
	offer, err := api.Join(ctx, &musterv1.JoinRequest{Worker: id})
	if err != nil {
		t.Fatal(err)
	}
	if offer.Shared == nil {
		t.Skipf("%s needs memory that processes can share", t.Name())
	}
	if n.parameters, err = wire.OpenSegment(offer.Shared); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.parameters.Close)
	req := joinRequest(r.Server, id)
	if values > 0 {
		if n.sums, err = wire.NewSegment(2, values); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.sums.Close)
		req.Shared = n.sums.Offer()
	}
	var joined *musterv1.JoinResponse
	n.stream, joined = openStream(t, conn, req, 1)
	if fits := values == n.layout.Size(); (joined.Shared != nil) != fits {
		t.Errorf("vectors of %d values: shared: %v, want %v", values, joined.Shared != nil, fits)
	}
	return n
}

// ready says that a chunk of the sum over both shards is in a vector of the worker's memory.
func (n *neighbour) ready(step uint64, vector, chunk uint32) {
	n.Helper()
	n.stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: &musterv1.GradientChunk{
		Step: step, Node: &musterv1.Node{First: 0, End: 2}, Chunk: chunk, Encoding: encodingShared, Vector: vector,
	}}})
}

// TestAJobIsTrainedInSharedMemory has a worker which is told of chunks and tells of
// them, and reads and writes nothing but shared memory.
func TestAJobIsTrainedInSharedMemory(t *testing.T) {
	cfg := testConfig(t)
	cfg.SharedMemory = true
	r, conn := serve(t, cfg)
	n := newNeighbour(t, r, conn, "a", r.network.Layout.Size())
	initial := params.NewVector(n.layout.Size())
	r.network.Initialise(initial, r.job.Seed)
	seen := map[uint64]int{} // chunks told of, by step
	var w *musterv1.Work     // whose parameters are still to come
	for {
		m, err := n.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if p := m.GetParameters(); p != nil {
			if p.Encoding != encodingShared || len(p.Payload) > 0 {
				t.Fatalf("parameters came in encoding %v with %d bytes", p.Encoding, len(p.Payload))
			}
			seen[p.Step]++
		}
		if m.GetDone() != nil {
			break
		}
		if m.GetWork() != nil {
			w = m.GetWork()
		}
		if w == nil || seen[w.Step] < n.layout.Chunks() {
			continue
		}
		if w.Step == 0 && w.Kind == kindGradient && !slices.Equal(n.parameters.Vector(0), initial) {
			t.Error("the server's memory does not hold the first parameters")
		}
		if status := look(t, r.Server); len(status.Workers) != 1 || status.Workers[0].Transport != transportMemory {
			t.Errorf("status tells of %v", status.Workers)
		}
		tallies := &musterv1.Tallies{Step: w.Step, Kind: w.Kind}
		var sum float32
		for shard := range 2 {
			count := images(r.Server, shard, int(w.Batch))
			if w.Kind == kindEvaluate {
				count = int(testData.TestImages) / 2
			}
			if count > 0 {
				tallies.Tallies = append(tallies.Tallies, &musterv1.Tally{Shard: uint32(shard), Images: uint32(count), Loss: 1})
				sum += gradient(shard, w.Step)
			}
		}
		if w.Kind == kindGradient {
			vector := uint32(w.Step % 2) // any will do
			for i := range n.sums.Vector(int(vector)) {
				n.sums.Vector(int(vector))[i] = sum
			}
			for chunk := range n.layout.Chunks() {
				n.ready(w.Step, vector, uint32(chunk))
			}
		}
		n.stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: tallies}})
		w = nil
	}
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if params.Hash(n.parameters.Vector(1)) != result.Hash {
		t.Error("the server's memory does not hold the last parameters")
	}
	_ = n.stream.CloseSend()
	expectMappings(t, 3) // the server's parameters and the worker's of them, and the worker's sums
}

// A chunk of memory that is not shared ends the stream of who names it; the others
// go on. The server lets go of what it had mapped.
func TestMemoryThatIsNotSharedEndsTheStreamAlone(t *testing.T) {
	for _, tc := range []struct {
		name   string
		values func(layout *params.Layout) int
		vector uint32
		chunk  uint32
	}{
		{"a vector that is not there", (*params.Layout).Size, 2, 0},
		{"a chunk that is not there", (*params.Layout).Size, 0, 1 << 20},
		{"memory of another layout", func(l *params.Layout) int { return l.Size() + 1 }, 0, 0},
		{"no memory", func(*params.Layout) int { return 0 }, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.SharedMemory, cfg.SessionGrace = true, time.Millisecond
			r, conn := serve(t, cfg)
			n := newNeighbour(t, r, conn, "bad", tc.values(r.network.Layout))
			for {
				m, err := n.stream.Recv()
				if err != nil {
					if !strings.Contains(err.Error(), "shared memory") {
						t.Errorf("the stream ended with %v", err)
					}
					break
				}
				if w := m.GetWork(); w != nil {
					n.ready(w.Step, tc.vector, tc.chunk)
				}
			}
			if n.sums != nil {
				expectMappings(t, 3)
			}
			newPuppet(t, r.Server, "good").toil()
			result, err := r.wait(t)
			check(t, result, err, testJob(), 3)
		})
	}
}

func TestAServerThatSharesNothingOffersNothing(t *testing.T) {
	_, conn := serve(t, testConfig(t))
	offer, err := musterv1.NewMusterServiceClient(conn).Join(t.Context(), &musterv1.JoinRequest{Worker: "a"})
	if err != nil || offer.Shared != nil {
		t.Errorf("Join = %v, %v, want no memory", offer.GetShared(), err)
	}
}

// Memory of workers that join and never come is let go of in time, and the server's
// own is no worker's.
func TestMemoryOfWorkersThatDoNotComeIsLetGo(t *testing.T) {
	cfg := testConfig(t)
	cfg.SharedMemory = true
	r, conn := serve(t, cfg)
	api := musterv1.NewMusterServiceClient(conn)
	offer, err := api.Join(t.Context(), &musterv1.JoinRequest{Worker: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if offer.Shared == nil {
		t.Skipf("%s needs memory that processes can share", t.Name())
	}
	req := joinRequest(r.Server, "mirror")
	req.Shared = offer.Shared
	if joined, err := api.Join(t.Context(), req); err != nil || joined.Shared != nil {
		t.Errorf("Join = %v, %v: the server's own memory was taken for a worker's", joined.GetShared(), err)
	}
	sums, err := wire.NewSegment(1, r.network.Layout.Size())
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	join := func(id string) {
		t.Helper()
		req := joinRequest(r.Server, id)
		req.Shared = sums.Offer()
		if joined, err := api.Join(t.Context(), req); err != nil || joined.Shared == nil {
			t.Fatalf("Join = %v, %v, want shared memory", joined.GetShared(), err)
		}
	}
	for _, id := range []string{"b", "c", "d"} {
		join(id)
	}
	if err := r.do(t.Context(), func() {
		for _, j := range r.joins {
			j.at = j.at.Add(-connectTimeout)
		}
	}); err != nil {
		t.Fatal(err)
	}
	join("e")
	expectMappings(t, 3) // the server's parameters, the worker's sums, and these at the server for e
}

// expectMappings waits until this process maps shared vectors so many times.
func expectMappings(t *testing.T, want int) {
	t.Helper()
	got := 0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		runtime.GC() // stores of earlier tests
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Skip(err)
		}
		if got = strings.Count(string(maps), "memfd:muster"); got <= want {
			return
		}
	}
	t.Errorf("%d mappings of shared memory, want at most %d", got, want)
}
