package paramserver

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// story is a server's log.
type story struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *story) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// warnings are those of a kind about a worker.
func (s *story) warnings(worker, text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for line := range strings.Lines(s.text.String()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, text) && strings.Contains(line, "worker="+worker+" ") {
			n++
		}
	}
	return n
}

// patientServer is one whose timer does not go off in a test by itself: fall does.
func patientServer(t *testing.T, cfg Config) (*running, *story) {
	t.Helper()
	log := &story{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	cfg.WorkerTimeout = 1000 * time.Hour
	return run(t, newServer(t, cfg)), log
}

// mute makes workers silent for longer than they may be.
func mute(t *testing.T, s *Server, workers ...string) {
	t.Helper()
	if err := s.do(t.Context(), func() {
		for _, id := range workers {
			ses := s.sessions[id]
			ses.awaited = ses.awaited.Add(-2 * s.cfg.WorkerTimeout)
			ses.mu.Lock()
			ses.fed = ses.fed.Add(-2 * s.cfg.WorkerTimeout)
			ses.mu.Unlock()
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// fall mutes workers, and has the loop find out, as its timer would.
func fall(t *testing.T, s *Server, workers ...string) {
	t.Helper()
	mute(t, s, workers...)
	if err := s.do(t.Context(), s.findHung); err != nil {
		t.Fatal(err)
	}
}

// standing is how a worker stands.
func standing(t *testing.T, s *Server, id string) *musterv1.WorkerStatus {
	t.Helper()
	for _, w := range look(t, s).Workers {
		if w.Worker == id {
			return w
		}
	}
	t.Fatalf("status knows no worker %s", id)
	return nil
}

// hangs checks whether a worker counts as one that hangs.
func hangs(t *testing.T, s *Server, id string, want bool) {
	t.Helper()
	if w := standing(t, s, id); w.Hung != want || !w.Connected {
		t.Errorf("worker %s: connected %v, hung %v; want it connected, hung %v", id, w.Connected, w.Hung, want)
	}
}

// pair is two workers that share a job, from the work of step 1 on.
func pair(t *testing.T, r *running) (a, b *puppet, forA, forB *musterv1.Work) {
	t.Helper()
	a = newPuppet(t, r.Server, "a")
	w := next(t, a)
	b = newPuppet(t, r.Server, "b")
	for deferred := false; !deferred; { // b's key in etcd comes to the server a moment later
		if err := r.do(t.Context(), func() { deferred = r.deferred }); err != nil {
			t.Fatal(err)
		}
	}
	a.obey(w)
	forA, forB = next(t, a), next(t, b)
	if forA.Step != 1 || forB.Step != 1 || !slices.Equal(a.shards, []int{0}) || !slices.Equal(b.shards, []int{1}) {
		t.Fatalf("a is asked for step %d of %v, b for step %d of %v; want step 1 of a shard each", forA.Step, a.shards, forB.Step, b.shards)
	}
	return a, b, forA, forB
}

// A worker that is connected and does nothing is named once, others do its work, and
// what it sends after all does not count. It owns shards again from the next step on.
func TestAHungWorkersShardsGoToOthersUntilItIsBack(t *testing.T) {
	cfg := testConfig(t)
	cfg.Job.Epochs = 2
	r, log := patientServer(t, cfg)
	a, b, late, w := pair(t, r)
	b.obey(w)
	fall(t, r.Server, "a")
	hangs(t, r.Server, "a", true)
	hangs(t, r.Server, "b", false)
	again := next(t, b)
	if again.Step != 1 || !slices.Equal(b.shards, []int{0, 1}) {
		t.Fatalf("b is asked for step %d of %v, want step 1 of both shards", again.Step, b.shards)
	}
	b.push(1, node(0, 1), 0)
	b.tallies(again, 0)
	w = next(t, b)
	if got := look(t, r.Server); w.Step != 2 || got.RepeatedContributions != 0 {
		t.Fatalf("b is asked for step %d after %d repeats, want step 2 and none: what it had sent counts", w.Step, got.RepeatedContributions)
	}

	// What it was asked for comes after all, and then garbage of that name.
	a.obey(late)
	a.pushValue(1, node(0, 1), 0, 1e6)
	hangs(t, r.Server, "a", false)
	if got := look(t, r.Server).RepeatedContributions; got != 3 { // its tally is one
		t.Errorf("%d contributions were dropped, want 3", got)
	}
	if got := standing(t, r.Server, "a").Shards; len(got) != 0 {
		t.Errorf("a owns %v in the midst of a step, want nothing yet", got)
	}
	b.obey(w)
	go a.toil()
	b.toil()
	result, err := r.wait(t)
	check(t, result, err, cfg.Job, 6)
	if got := r.meter.workers["a"].images; got < 4 {
		t.Errorf("%d images of a counted, want the 2 of step 0 and those of a shard in the second epoch", got)
	}
	if got := log.warnings("a", "worker hangs: it is connected and has sent nothing for longer than it may; its shards go to others"); got != 1 {
		t.Errorf("%d warnings that a hangs, want one", got)
	}
	if got := log.warnings("b", ""); got != 0 {
		t.Errorf("%d warnings about b, want none", got)
	}
}

// Who waits for others has nothing to send.
func TestAWorkerThatOwesNothingIsNotHung(t *testing.T) {
	r, log := patientServer(t, testConfig(t))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	a.obey(next(t, a))
	w := next(t, b)
	fall(t, r.Server, "a")
	hangs(t, r.Server, "a", false)
	go a.toil()
	b.obey(w)
	b.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if got := log.warnings("a", ""); got != 0 {
		t.Errorf("%d warnings about a, want none", got)
	}
}

// A worker that takes in the parameters for its work, over a connection that is slow,
// is not silent meanwhile.
func TestAWorkerThatIsStillBeingSentParametersIsNotHung(t *testing.T) {
	r, _ := patientServer(t, testConfig(t))
	p := newPuppet(t, r.Server, "w")
	for p.asked == nil { // the work, without its parameters
		var m wire.Response
		if err := p.stream.Recv(&m); err != nil {
			t.Fatal(err)
		}
		if a := m.Message.GetAssignment(); a != nil {
			p.shards = []int{0, 1}
		}
		p.asked = m.Message.GetWork()
	}
	mute(t, r.Server, "w")
	w := next(t, p)
	fall(t, r.Server)
	hangs(t, r.Server, "w", false)
	p.obey(w)
	p.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

// Where nobody else could take its shards a worker keeps them, however long it takes;
// the one warning says so, and status that the job waits.
func TestAHungWorkerWithoutAnybodyElseKeepsItsShards(t *testing.T) {
	r, log := patientServer(t, testConfig(t))
	p := newPuppet(t, r.Server, "w")
	w := next(t, p)
	number := assignment(t, r.Server)
	for range 3 {
		fall(t, r.Server, "w")
	}
	hangs(t, r.Server, "w", true)
	if got := look(t, r.Server); got.Phase != "waiting" || len(got.UnownedShards) != 0 {
		t.Errorf("the job is %s and waits for owners of %v, want it waiting for the one it has", got.Phase, got.UnownedShards)
	}
	if got := assignment(t, r.Server); got != number {
		t.Errorf("assignment %d after %d, want no other", got, number)
	}
	p.obey(w)
	hangs(t, r.Server, "w", false)
	p.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if got := log.warnings("w", "worker hangs"); got != 1 || log.warnings("w", "nobody else could take its shards, so the job waits for it") != 1 {
		t.Errorf("%d warnings that w hangs, want one, which says that nobody else could take its shards", got)
	}
}

// waitForNobody has shards of pinned workers handed over as soon as they lack their owner.
func waitForNobody(t *testing.T, s *Server) {
	t.Helper()
	if err := s.do(t.Context(), func() { s.cfg.ShardTimeout = 0 }); err != nil {
		t.Fatal(err)
	}
}

// assignment is the number of the one that holds.
func assignment(t *testing.T, s *Server) (number uint64) {
	t.Helper()
	if err := s.do(t.Context(), func() { number = s.assignment.Number }); err != nil {
		t.Fatal(err)
	}
	return number
}

// All may hang at once. The first that is back waits as long again for the others, then
// it does their work.
func TestAllWorkersHangAtOnce(t *testing.T) {
	r, _ := patientServer(t, testConfig(t))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	forA, forB := next(t, a), next(t, b)
	waitForNobody(t, r.Server)
	number := assignment(t, r.Server)
	fall(t, r.Server, "a", "b")
	hangs(t, r.Server, "a", true)
	hangs(t, r.Server, "b", true)
	a.obey(forA)
	hangs(t, r.Server, "a", false)
	fall(t, r.Server)
	hangs(t, r.Server, "b", true)
	if got := assignment(t, r.Server); got != number {
		t.Errorf("assignment %d after %d, want no other while b has time left", got, number)
	}
	fall(t, r.Server, "b")
	w := next(t, a)
	if w.Step != 0 || !slices.Equal(a.shards, []int{0, 1}) {
		t.Errorf("a is asked for step %d of %v, want step 0 of both shards", w.Step, a.shards)
	}
	a.obey(w)
	a.obey(next(t, a))
	b.obey(forB)
	go b.toil()
	a.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

// The shard of a pinned worker that hangs waits for it as for one that was lost.
func TestAHungPinnedWorkersShardWaits(t *testing.T) {
	cfg := testConfig(t)
	cfg.ShardTimeout = 1000 * time.Hour
	r, log := patientServer(t, cfg)
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	a.obey(next(t, a))
	w := next(t, b)
	fall(t, r.Server, "b")
	if got := look(t, r.Server); !slices.Equal(got.UnownedShards, []uint32{1}) || got.Phase != "waiting" {
		t.Errorf("the job is %s, shards %v have no owner; want it waiting for shard 1", got.Phase, got.UnownedShards)
	}
	b.tallies(w, 1) // a sign of life
	if got := look(t, r.Server); len(got.UnownedShards) != 0 || got.Phase != "training" {
		t.Errorf("the job is %s, shards %v have no owner; want it training at once", got.Phase, got.UnownedShards)
	}
	go a.toil()
	b.push(0, node(1, 2), 0)
	b.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if log.warnings("b", "its shards wait 1000h0m0s more for it, then go to others") != 1 {
		t.Error("no warning says that b's shard waits")
	}
}

func TestAWorkerThatHangsWhileEvaluatingIsReplaced(t *testing.T) {
	r, _ := patientServer(t, testConfig(t))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	for range 3 {
		forA, forB := next(t, a), next(t, b)
		a.obey(forA)
		b.obey(forB)
	}
	forA, forB := a.work(), b.work()
	for forB.Kind == 0 { // its shard had no images left, so what it sent came late
		forB = b.work()
	}
	waitForNobody(t, r.Server)
	if forA.Kind != kindEvaluate || forB.Kind != kindEvaluate {
		t.Fatalf("asked for %v and %v, want evaluations", forA, forB)
	}
	a.obey(forA)
	fall(t, r.Server, "b")
	a.toil()
	b.stream.Close()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if len(result.Epochs) != 1 || result.Epochs[0].Top1 != 1 || result.Epochs[0].TestLoss != 1 {
		t.Errorf("epochs %+v, want one with each test image right once", result.Epochs)
	}
}

// With relaxed synchronisation a worker hangs that does not do what it was asked for.
func TestAHungWorkerOfARelaxedJobIsReplaced(t *testing.T) {
	cfg := relaxedConfig(t, "ssp:1")
	cfg.ShardTimeout = 0
	r, _ := patientServer(t, cfg)
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	late := next(t, b)
	a.obey(next(t, a))
	a.obey(next(t, a)) // and waits for b
	fall(t, r.Server, "a", "b")
	hangs(t, r.Server, "a", false)
	hangs(t, r.Server, "b", true)
	w := next(t, a)
	if w.Step != 0 || !slices.Equal(w.Shards, []uint32{1}) {
		t.Fatalf("a is asked for %v, want shard 1 of step 0", w)
	}
	a.obey(w)
	b.pushValue(late.Step, node(1, 2), 0, 1e6)
	hangs(t, r.Server, "b", false)
	if got := look(t, r.Server).RepeatedContributions; got != 1 {
		t.Errorf("%d contributions were dropped, want that of b", got)
	}
	go b.toil()
	a.toil()
	result, err := r.wait(t)
	if err != nil {
		t.Fatal(err)
	}
	orders := [][]piece{ // the last two come from a worker each
		{{0, node(0, 1)}, {1, node(0, 1)}, {0, node(1, 2)}, {1, node(1, 2)}, {2, node(0, 1)}},
		{{0, node(0, 1)}, {1, node(0, 1)}, {0, node(1, 2)}, {2, node(0, 1)}, {1, node(1, 2)}},
	}
	if !slices.ContainsFunc(orders, func(o []piece) bool { return params.Hash(inOrder(t, cfg.Job, always(o...))) == result.Hash }) {
		t.Error("the parameters are not those of each contribution once")
	}
	if result.Samples != 5 {
		t.Errorf("%d samples, want 5", result.Samples)
	}
}

// A worker may send what it contributes by Push, beside its stream.
func TestAWorkerIsHeardBesideItsStream(t *testing.T) {
	cfg := testConfig(t)
	r, conn := serve(t, cfg)
	request := joinRequest(r.Server, "w")
	stream, joined := openStream(t, conn, request, 0)
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetWork() != nil {
			break
		}
	}
	fall(t, r.Server, "w")
	hangs(t, r.Server, "w", true)
	if _, err := musterv1.NewMusterServiceClient(conn).Push(t.Context(), &musterv1.PushRequest{
		Session: joined.Session, Tallies: &musterv1.Tallies{Kind: kindGradient, Tallies: []*musterv1.Tally{{Shard: 0, Images: 1, Loss: 1}}},
	}); err != nil {
		t.Fatal(err)
	}
	hangs(t, r.Server, "w", false)
	r.cancel()
}

// The timer finds a worker that hangs, whatever others do meanwhile.
func TestAHungWorkerIsFoundInTime(t *testing.T) {
	cfg := testConfig(t)
	cfg.WorkerTimeout, cfg.ShardTimeout = 20*time.Millisecond, 0
	r := run(t, newServer(t, cfg))
	still := pinnedPuppet(t, r.Server, "still", 0)
	pinnedPuppet(t, r.Server, "busy", 1).toil() // ends only if it is given shard 0 as well
	still.stream.Close()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

func TestNobodyHangsWithoutATimeout(t *testing.T) {
	cfg := testConfig(t)
	cfg.WorkerTimeout = 0
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	w := next(t, p)
	if err := r.do(t.Context(), func() {
		if r.silence != nil {
			t.Error("a timer looks for workers that hang")
		}
	}); err != nil {
		t.Fatal(err)
	}
	p.obey(w)
	p.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}
