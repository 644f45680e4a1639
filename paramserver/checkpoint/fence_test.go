package checkpoint

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// beside opens the directory of another store, as another server would.
func beside(t *testing.T, s *Store) *Store {
	t.Helper()
	other, err := Open(s.Dir(), s.keep, nil)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

func leadIn(t *testing.T, s *Store, term uint64) {
	t.Helper()
	if err := s.Lead(term); err != nil {
		t.Fatal(err)
	}
	if noted, err := s.Term(); noted != term || err != nil {
		t.Fatalf("term %d, %v is noted; want %d", noted, err, term)
	}
}

// deposed checks an error of a server of a term, and that both terms are named.
func deposed(t *testing.T, err error, term, noted uint64) {
	t.Helper()
	if !errors.Is(err, ErrDeposed) || !strings.Contains(err.Error(), fmt.Sprint("term ", term)) || !strings.Contains(err.Error(), fmt.Sprint("term ", noted)) {
		t.Errorf("%v; want that a server of term %d is deposed by one of term %d", err, term, noted)
	}
}

func TestTermsAreNotedAndOnlyGrow(t *testing.T) {
	s, _ := store(t, 1)
	if term, err := s.Term(); term != 0 || err != nil {
		t.Fatalf("term %d, %v before there was one", term, err)
	}
	if err := s.Lead(0); err == nil || !strings.Contains(err.Error(), "terms count from 1") {
		t.Errorf("Lead(0): %v", err)
	}
	leadIn(t, s, 3)
	leadIn(t, s, 3) // once more, as after an error of the first
	deposed(t, s.Lead(2), 2, 3)
	other := beside(t, s)
	deposed(t, other.Lead(1), 1, 3)
	leadIn(t, other, 18446744073709551615)
	deposed(t, s.Lead(4), 4, 18446744073709551615)
	if got, want := names(t, s.Dir()), []string{lockName, termName}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	text, err := os.ReadFile(filepath.Join(s.Dir(), termName))
	if string(text) != "18446744073709551615\n" || err != nil {
		t.Errorf("the file has %q, %v", text, err)
	}
}

func TestADeposedServerChangesNothing(t *testing.T) {
	for _, best := range []bool{false, true} {
		for _, links := range []bool{false, true} {
			old, log := store(t, 1)
			if !links {
				old.link = func(string, string) error { return errors.ErrUnsupported }
			}
			leadIn(t, old, 1)
			save(t, old, 5, true)
			successor := beside(t, old)
			leadIn(t, successor, 2)
			// A step behind the old one's next: it is not to be set aside, nor deleted.
			save(t, successor, 6, true)
			want := names(t, old.Dir())
			for _, step := range []uint64{3, 6, 7} {
				path, err := old.Save(t.Context(), sample(t, step), best)
				deposed(t, err, 1, 2)
				if path != "" || !strings.Contains(err.Error(), fmt.Sprint("step ", step)) {
					t.Errorf("Save of step %d = %q, %v", step, path, err)
				}
				if got := names(t, old.Dir()); !slices.Equal(got, want) {
					t.Fatalf("best %v, links %v, after step %d: %v, want %v", best, links, step, got, want)
				}
			}
			state, err := Read(filepath.Join(old.Dir(), bestName))
			if err != nil || state.Step != 6 {
				t.Errorf("best, links %v: %v; want the successor's", links, err)
			}
			save(t, successor, 7, best)
			if log.Len() > 0 {
				t.Errorf("logged: %s", log)
			}
		}
	}
}

// meanwhile is a context that does something when it is looked at: in the middle
// of a Save's writing.
type meanwhile struct {
	context.Context
	do func()
}

func (m *meanwhile) Err() error {
	if m.do != nil {
		do := m.do
		m.do = nil
		do()
	}
	return m.Context.Err()
}

func TestAServerDeposedWhileItWritesSavesNothing(t *testing.T) {
	old, _ := store(t, 1)
	leadIn(t, old, 1)
	save(t, old, 1, true)
	want := names(t, old.Dir())
	ctx := &meanwhile{t.Context(), func() { leadIn(t, beside(t, old), 2) }}
	_, err := old.Save(ctx, sample(t, 2), true)
	deposed(t, err, 1, 2)
	if got := names(t, old.Dir()); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAServerThatLeadsOnWhileItWritesSaves(t *testing.T) {
	s, _ := store(t, 1)
	leadIn(t, s, 1)
	ctx := &meanwhile{t.Context(), func() { leadIn(t, s, 2) }}
	if _, err := s.Save(ctx, sample(t, 2), true); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, s.Dir()), []string{bestName, lockName, stepName(2), termName}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A standby opens the directory at any time; what the leader writes is not its to
// remove until it leads itself.
func TestTheLeadersUnfinishedFilesAreItsOwn(t *testing.T) {
	s, _ := store(t, 1)
	leadIn(t, s, 1)
	ctx := &meanwhile{t.Context(), func() { beside(t, s) }}
	if _, err := s.Save(ctx, sample(t, 1), true); err != nil {
		t.Fatalf("saved while another server opened the directory: %v", err)
	}
	left := []string{".best.ckpt199", ".step-0000000002.ckpt8761", ".term12"}
	for _, name := range left {
		if err := os.WriteFile(filepath.Join(s.Dir(), name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	finished := []string{bestName, lockName, stepName(1), termName}
	standby := beside(t, s)
	leadIn(t, s, 2) // its own second term: it may be writing
	if got, want := names(t, s.Dir()), append(slices.Clone(left), finished...); !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	leadIn(t, standby, 3)
	if got := names(t, s.Dir()); !slices.Equal(got, finished) {
		t.Errorf("%v, want %v", got, finished)
	}
}

// Before the first term is noted, another server that looks into the directory must not
// take away the file in which it is just being noted.
func TestATermThatIsJustBeingNotedIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ".term12")
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	looking, err := Open(dir, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := looking.Save(t.Context(), sample(t, 3), false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%v: the file is gone", err)
	}
	leading, err := Open(dir, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := leading.Lead(1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("who leads leaves the file of one that died")
	}
}

// A job that is started without terms in such a directory goes on as it always did.
func TestAServerWithoutTermsHeedsNone(t *testing.T) {
	for _, text := range []string{"7\n", "garbage"} {
		s, _ := store(t, 1)
		for name, text := range map[string]string{termName: text, lockName: "", ".step-0000000001.ckpt9": "x"} {
			if err := os.WriteFile(filepath.Join(s.Dir(), name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s = beside(t, s)
		release, err := beside(t, s).lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		save(t, s, 1, true)
		save(t, s, 2, false)
		release()
		want := []string{bestName, lockName, stepName(2), termName}
		if got := names(t, s.Dir()); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if noted, err := os.ReadFile(filepath.Join(s.Dir(), termName)); string(noted) != text || err != nil {
			t.Errorf("the term is %q, %v; want it untouched", noted, err)
		}
	}
}

func TestTermAndLockAreNoCheckpoints(t *testing.T) {
	s, log := store(t, 1)
	leadIn(t, s, 1)
	if _, _, err := s.Newest(); !errors.Is(err, ErrNone) {
		t.Errorf("Newest: %v", err)
	}
	for _, which := range []string{WhichNewest, WhichBest} {
		if _, err := Find(s.Dir(), which, nil); !errors.Is(err, ErrNone) {
			t.Errorf("Find(%s): %v", which, err)
		}
	}
	path := save(t, s, 9, false)
	save(t, s, 3, false) // sets the other aside
	save(t, s, 4, false) // deletes one
	if got, want := names(t, s.Dir()), []string{lockName, stepName(4), "superseded-" + filepath.Base(path), termName}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v; log %s", got, want, log)
	}
}

func TestADamagedTermIsAnError(t *testing.T) {
	for _, text := range []string{"", "\n", "7", "7\n8\n", "0\n", "-1\n", "+7\n", " 7\n", "0x7\n", "seven\n", "7\r\n", "18446744073709551616\n", strings.Repeat("\x00", 4096)} {
		s, _ := store(t, 1)
		leadIn(t, s, 7)
		save(t, s, 1, false)
		path := filepath.Join(s.Dir(), termName)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		want := names(t, s.Dir())
		term, err := s.Term()
		_, saveErr := s.Save(t.Context(), sample(t, 2), true)
		for what, err := range map[string]error{"Term": err, "Lead": s.Lead(8), "Save": saveErr} {
			if err == nil || term != 0 || errors.Is(err, ErrDeposed) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s over %.20q: %v; want an error that names %s", what, text, err, path)
			}
		}
		if got := names(t, s.Dir()); !slices.Equal(got, want) {
			t.Errorf("%.20q: %v, want %v", text, got, want)
		}
	}
}

func TestATermThatCannotBeReadIsAnError(t *testing.T) {
	s, _ := store(t, 1)
	path := filepath.Join(s.Dir(), termName)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Term(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Term: %v", err)
	}
	if err := s.Lead(1); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Lead: %v", err)
	}
}

// holder is a process that holds a directory's lock.
type holder struct {
	process *exec.Cmd
	in      io.WriteCloser
}

const holdVariable = "MUSTER_TEST_HOLD_LOCK_OF"

// hold starts one, and returns when it has the lock.
func hold(t *testing.T, dir string) *holder {
	t.Helper()
	h := &holder{process: exec.Command(os.Args[0], "-test.run=^TestTheLockOfAnotherProcessIsHeeded$")}
	h.process.Env = append(os.Environ(), holdVariable+"="+dir)
	in, err := h.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.in = in
	out, err := h.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return h
}

func (h *holder) kill() {
	_ = h.process.Process.Kill()
	_ = h.process.Wait()
}

func TestTheLockOfAnotherProcessIsHeeded(t *testing.T) {
	if dir := os.Getenv(holdVariable); dir != "" {
		s, err := Open(dir, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		fmt.Println("locked")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	s, _ := store(t, 1)
	leadIn(t, s, 1)
	save(t, s, 1, true)
	want := names(t, s.Dir())
	other := hold(t, s.Dir())

	// What can't have the lock in time changes nothing.
	s.patience = 50 * time.Millisecond
	sentence := "the lock " + filepath.Join(s.Dir(), lockName) + " has been held by another server for 50ms"
	if err := s.Lead(2); err == nil || !strings.Contains(err.Error(), sentence) {
		t.Errorf("Lead: %v, want %q", err, sentence)
	}
	if _, err := s.Save(t.Context(), sample(t, 2), true); err == nil || !strings.Contains(err.Error(), sentence) {
		t.Errorf("Save: %v, want %q", err, sentence)
	}
	if noted, err := s.Term(); noted != 1 || err != nil {
		t.Errorf("term %d, %v", noted, err)
	}
	s.patience = lockPatience
	ctx, cancel := context.WithCancel(t.Context())
	s.link = func(from, to string) error {
		cancel() // once all is written
		return os.Link(from, to)
	}
	if _, err := s.Save(ctx, sample(t, 2), true); !errors.Is(err, context.Canceled) {
		t.Errorf("Save whose context has ended: %v", err)
	}
	if got := names(t, s.Dir()); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}

	// The end of the process, however it comes, frees the lock.
	s.patience = time.Minute
	saved := make(chan error, 1)
	s.link = func(from, to string) error {
		other.kill()
		return os.Link(from, to)
	}
	go func() {
		_, err := s.Save(t.Context(), sample(t, 2), true)
		saved <- err
	}()
	if err := <-saved; err != nil {
		t.Errorf("Save after the other process had died: %v", err)
	}
	leadIn(t, s, 2)
}

func TestLeadOfADirectoryThatIsGone(t *testing.T) {
	s, _ := store(t, 1)
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if err := s.Lead(1); err == nil || !strings.Contains(err.Error(), s.Dir()) {
		t.Errorf("Lead: %v", err)
	}
}
