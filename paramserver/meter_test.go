package paramserver

import (
	"testing"
	"testing/synctest"
	"time"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestTimeIsSplit(t *testing.T) {
	for _, tc := range []struct {
		name  string
		round func(m *meter) // from begin to end
		want  Split
	}{
		{"one worker", func(m *meter) {
			m.begin(false)
			time.Sleep(10 * time.Second)
			m.computed("a", 7, 1)
			m.end(kindGradient)
		}, Split{Compute: 7 * time.Second, Exchange: 3 * time.Second}},
		{"workers wait for the slowest", func(m *meter) {
			m.begin(false)
			time.Sleep(10 * time.Second)
			m.computed("a", 2, 1)
			m.computed("b", 8, 1)
			m.end(kindGradient)
		}, Split{Compute: 5 * time.Second, Wait: 3 * time.Second, Exchange: 2 * time.Second}},
		{"a worker in two pieces", func(m *meter) {
			m.begin(false)
			time.Sleep(10 * time.Second)
			m.computed("a", 2, 1)
			m.computed("a", 3, 1)
			m.end(kindGradient)
		}, Split{Compute: 5 * time.Second, Exchange: 5 * time.Second}},
		{"a shard without a worker at first", func(m *meter) {
			m.begin(true)
			time.Sleep(4 * time.Second)
			m.stall(false)
			time.Sleep(6 * time.Second)
			m.computed("a", 5, 1)
			m.end(kindGradient)
		}, Split{Compute: 5 * time.Second, Wait: 4 * time.Second, Exchange: time.Second}},
		{"and again later", func(m *meter) {
			m.begin(true)
			m.stall(true)
			time.Sleep(time.Second)
			m.stall(false)
			m.stall(false)
			time.Sleep(4 * time.Second)
			m.stall(true)
			time.Sleep(5 * time.Second)
			m.computed("a", 3, 1)
			m.end(kindGradient)
		}, Split{Compute: 3 * time.Second, Wait: 6 * time.Second, Exchange: time.Second}},
		{"a worker that says more than there was", func(m *meter) {
			m.begin(false)
			time.Sleep(2 * time.Second)
			m.computed("a", 50, 1)
			m.end(kindGradient)
		}, Split{Compute: 2 * time.Second}},
		{"and one that says nonsense", func(m *meter) {
			m.begin(false)
			time.Sleep(2 * time.Second)
			m.computed("a", -3, 1)
			m.computed("a", 1e9, 1)
			m.end(kindGradient)
		}, Split{Exchange: 2 * time.Second}},
		{"an evaluation", func(m *meter) {
			m.begin(false)
			time.Sleep(3 * time.Second)
			m.computed("a", 1, 1)
			m.end(kindEvaluate)
		}, Split{Evaluate: 3 * time.Second}},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := meter{workers: map[string]workerLoad{}}
			tc.round(&m)
			if m.split != tc.want {
				t.Errorf("%s: %+v, want %+v", tc.name, m.split, tc.want)
			}
		})
	}
}

// TestTimeOfAnOpenRoundIsToldAndNeverTakenBack looks once a second, as who
// collects metrics does.
func TestTimeOfAnOpenRoundIsToldAndNeverTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meter{workers: map[string]workerLoad{}}
		var before Split
		look := func(kind musterv1.WorkKind, want Split) {
			t.Helper()
			got := m.sofar(kind)
			if got != want || got.Wait < before.Wait || got.Evaluate < before.Evaluate || got.Compute < before.Compute || got.Exchange < before.Exchange {
				t.Errorf("%+v, want %+v; before it was %+v", got, want, before)
			}
			before = got
		}
		m.begin(false)
		time.Sleep(time.Second)
		look(kindGradient, Split{})
		m.stall(true)
		time.Sleep(3 * time.Second)
		look(kindGradient, Split{Wait: 3 * time.Second})
		m.stall(false)
		time.Sleep(time.Second)
		look(kindGradient, Split{Wait: 3 * time.Second})
		m.computed("a", 4.5, 1) // which leaves less than was waited, if it were true
		m.end(kindGradient)
		want := Split{Wait: 3 * time.Second, Compute: 2 * time.Second}
		m.begin(false)
		look(kindGradient, want)
		m.end(kindGradient)
		m.begin(false)
		time.Sleep(2 * time.Second)
		want.Evaluate = 2 * time.Second
		look(kindEvaluate, want)
		m.end(kindEvaluate)
		if m.split != want {
			t.Errorf("%+v at the end, want %+v", m.split, want)
		}
	})
}

// TestALostWorkersSilenceIsWaiting: the connection is found broken long after
// the worker has last been heard.
func TestALostWorkersSilenceIsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meter{workers: map[string]workerLoad{}}
		m.begin(false)
		opened := time.Now()
		time.Sleep(10 * time.Second)
		m.stallSince(true, opened.Add(2*time.Second))
		if got := m.sofar(kindGradient).Wait; got != 8*time.Second {
			t.Errorf("%v waited, want 8s", got)
		}
		m.stall(false)
		m.begin(false)
		time.Sleep(time.Second)
		m.stallSince(true, opened) // before the round was open: that was another's
		if got := m.sofar(kindGradient).Wait; got != time.Second {
			t.Errorf("%v waited, want 1s", got)
		}
	})
}

func TestAnEpochThatWasTakenUpIsMeasuredAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := meter{workers: map[string]workerLoad{}}
		if r := first.running(); r != nil {
			t.Errorf("before any step an epoch runs: %+v", r)
		}
		first.begin(false)
		time.Sleep(3 * time.Second)
		first.step(Tally{Images: 4, Loss: 8, Top1: 1})
		state := first.running()

		time.Sleep(time.Hour) // while no process ran
		second := meter{workers: map[string]workerLoad{}}
		second.resume(state)
		if got := second.elapsed(); got != 3*time.Second {
			t.Errorf("%v have passed before the first round, want 3s", got)
		}
		second.begin(false)
		time.Sleep(2 * time.Second)
		second.step(Tally{Images: 6, Loss: 3, Top1: 5})
		if got := second.elapsed(); got != 5*time.Second {
			t.Errorf("the epoch took %v, want 5s", got)
		}
		if want := (Tally{Images: 10, Loss: 11, Top1: 6}); second.epoch != want {
			t.Errorf("the epoch came to %+v, want %+v", second.epoch, want)
		}
		second.nextEpoch()
		if second.running() != nil || second.elapsed() != 0 {
			t.Error("the next epoch begins with what the last one came to")
		}
	})
}
