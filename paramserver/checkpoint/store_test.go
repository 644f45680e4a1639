package checkpoint

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// store opens a directory of its own; log receives what is logged.
func store(t *testing.T, keep int) (s *Store, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	s, err := Open(filepath.Join(t.TempDir(), "jobs", "one"), keep, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

func save(t *testing.T, s *Store, step uint64, best bool) string {
	t.Helper()
	path, err := s.Save(t.Context(), sample(t, step), best)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// damage flips a bit in the middle of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, flipped(b, int64(len(b)/2)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSaveKeepsTheNewestAndTheBest(t *testing.T) {
	s, log := store(t, 2)
	for _, tc := range []struct {
		step uint64
		best bool
		want []string
	}{
		{1, true, []string{"best.ckpt", "step-0000000001.ckpt"}},
		{2, false, []string{"best.ckpt", "step-0000000001.ckpt", "step-0000000002.ckpt"}},
		{9, false, []string{"best.ckpt", "step-0000000002.ckpt", "step-0000000009.ckpt"}},
		{10, false, []string{"best.ckpt", "step-0000000009.ckpt", "step-0000000010.ckpt"}},
		{11, true, []string{"best.ckpt", "step-0000000010.ckpt", "step-0000000011.ckpt"}},
		{11, true, []string{"best.ckpt", "step-0000000010.ckpt", "step-0000000011.ckpt"}}, // once more
		{12345678901, false, []string{"best.ckpt", "step-0000000011.ckpt", "step-12345678901.ckpt"}},
	} {
		path := save(t, s, tc.step, tc.best)
		if got := names(t, s.Dir()); !slices.Equal(got, tc.want) {
			t.Errorf("after step %d: %v, want %v", tc.step, got, tc.want)
		}
		state, from, err := s.Newest()
		if err != nil || from != path {
			t.Fatalf("newest after step %d: %s, %v; want %s", tc.step, from, err, path)
		}
		compare(t, state, sample(t, tc.step))
		best, err := Read(filepath.Join(s.Dir(), "best.ckpt"))
		if err != nil {
			t.Fatal(err)
		}
		if want := uint64(1); tc.step >= 11 {
			want = 11
			compare(t, best, sample(t, want))
		} else {
			compare(t, best, sample(t, want))
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}
}

func TestBestIsWrittenWhereThereAreNoHardLinks(t *testing.T) {
	s, _ := store(t, 1)
	s.link = func(string, string) error { return errors.ErrUnsupported }
	save(t, s, 1, true)
	save(t, s, 2, false)
	if got, want := names(t, s.Dir()), []string{"best.ckpt", "step-0000000002.ckpt"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	best, err := Read(filepath.Join(s.Dir(), "best.ckpt"))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, best, sample(t, 1))
}

func TestCorruptOnesAreNamedAndTheOneBeforeIsUsed(t *testing.T) {
	s, log := store(t, 3)
	save(t, s, 1, true)
	second, third := save(t, s, 2, false), save(t, s, 3, false)

	damage(t, third)
	state, path, err := s.Newest()
	if err != nil || path != second || state.Step != 2 {
		t.Fatalf("newest %s, %v; want %s", path, err, second)
	}
	if !strings.Contains(log.String(), third) || !strings.Contains(log.String(), "section") {
		t.Errorf("the log does not name %s and where: %s", third, log)
	}

	damage(t, second)
	damage(t, filepath.Join(s.Dir(), stepName(1))) // the same file as best.ckpt
	if _, _, err = s.Newest(); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNone) || !strings.Contains(err.Error(), third) {
		t.Errorf("all corrupt: %v", err)
	}

	// Training goes on and writes a whole one.
	fourth := save(t, s, 4, false)
	if _, path, err := s.Newest(); err != nil || path != fourth {
		t.Errorf("newest %s, %v; want %s", path, err, fourth)
	}
}

func TestBestServesWhenNothingElseIsLeft(t *testing.T) {
	s, _ := store(t, 1)
	save(t, s, 1, true)
	damage(t, save(t, s, 2, false))
	state, path, err := s.Newest()
	if err != nil || filepath.Base(path) != "best.ckpt" || state.Step != 1 {
		t.Errorf("newest %s, %v; want best.ckpt", path, err)
	}
}

func TestNewestOfAnEmptyDirectory(t *testing.T) {
	s, _ := store(t, 1)
	if _, _, err := s.Newest(); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), s.Dir()) {
		t.Errorf("%v, want %v", err, ErrNone)
	}
	for _, other := range []string{"step-1.ckpt", "step-00000000001.ckpt", "step-0000000001.ckpt.bak", "step-99999999999999999999.ckpt", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(s.Dir(), other), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Newest(); !errors.Is(err, ErrNone) {
		t.Errorf("files of other names: %v, want %v", err, ErrNone)
	}
}

// A file of a newer program is not passed over: going on from an older one
// would throw its progress away.
func TestNewerVersionStopsTheSearch(t *testing.T) {
	s, _ := store(t, 3)
	save(t, s, 1, false)
	b := encoded(t, sample(t, 2))
	b[8] = 2
	b = b[:64] // the header of another version has another length
	if err := os.WriteFile(filepath.Join(s.Dir(), stepName(2)), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Newest(); !errors.Is(err, ErrVersion) {
		t.Errorf("%v, want %v", err, ErrVersion)
	}
}

// limited is a context that ends after n looks at it: an interruption at the
// n-th block.
type limited struct {
	context.Context
	n int
}

func (l *limited) Err() error {
	if l.n--; l.n < 0 {
		return context.Canceled
	}
	return nil
}

func TestInterruptedSaveLeavesEverythingAsItWas(t *testing.T) {
	s, _ := store(t, 1)
	first := save(t, s, 1, true)
	want := names(t, s.Dir())
	blocks := 0
	for ; ; blocks++ {
		_, err := s.Save(&limited{t.Context(), blocks}, sample(t, 2), true)
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "step 2") {
			t.Fatalf("interrupted at block %d: %v", blocks, err)
		}
		if got := names(t, s.Dir()); !slices.Equal(got, want) {
			t.Fatalf("interrupted at block %d: %v, want %v", blocks, got, want)
		}
		if state, path, err := s.Newest(); err != nil || path != first || state.Step != 1 {
			t.Fatalf("interrupted at block %d: newest %s, %v", blocks, path, err)
		}
	}
	if blocks < 2+2*sectionCount {
		t.Errorf("interrupted at %d places only", blocks)
	}
	if got, want := names(t, s.Dir()), []string{"best.ckpt", stepName(2)}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSaveRefusesAWrongStateAndAMissingDirectory(t *testing.T) {
	s, _ := store(t, 1)
	save(t, s, 1, false)
	wrong := sample(t, 2)
	wrong.Momentum = wrong.Momentum[1:]
	if _, err := s.Save(t.Context(), wrong, true); err == nil || !strings.Contains(err.Error(), "momentum has 35 values") {
		t.Errorf("wrong state: %v", err)
	}
	if got, want := names(t, s.Dir()), []string{stepName(1)}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(t.Context(), sample(t, 2), false); err == nil {
		t.Error("saved into a directory that is gone")
	}
}

// A file that cannot be put in its place must not cost an older one.
func TestFailedRenameKeepsOlderOnes(t *testing.T) {
	for _, blocked := range []string{stepName(2), bestName} {
		s, _ := store(t, 1)
		save(t, s, 1, false)
		if err := os.MkdirAll(filepath.Join(s.Dir(), blocked, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Save(t.Context(), sample(t, 2), true); err == nil {
			t.Errorf("saved over the directory %s", blocked)
		}
		if state, err := Read(filepath.Join(s.Dir(), stepName(1))); err != nil || state.Step != 1 {
			t.Errorf("%s blocked: the older one: %v", blocked, err)
		}
		for _, name := range names(t, s.Dir()) {
			if strings.HasPrefix(name, ".") {
				t.Errorf("%s blocked: %s was left", blocked, name)
			}
		}
	}
}

func TestGoingBackSetsLaterOnesAside(t *testing.T) {
	s, log := store(t, 2)
	for step := uint64(5); step <= 7; step++ {
		save(t, s, step, false)
	}
	third := save(t, s, 3, false) // resumed from an older file, or anew
	want := []string{stepName(3), "superseded-" + stepName(6), "superseded-" + stepName(7)}
	if got := names(t, s.Dir()); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, path, err := s.Newest(); err != nil || path != third {
		t.Errorf("newest %s, %v; want %s", path, err, third)
	}
	if !strings.Contains(log.String(), stepName(7)) {
		t.Errorf("the log does not name %s: %s", stepName(7), log)
	}
}

func TestOpenRemovesUnfinishedFilesOnly(t *testing.T) {
	s, _ := store(t, 1)
	save(t, s, 1, false)
	stay := []string{".best.ckpt", ".hidden", ".step-0000000002.ckpt", "mine.step-0000000002.ckpt12", stepName(1)}
	for _, name := range append([]string{".step-0000000002.ckpt8761", ".best.ckpt99", ".step-12345678901.ckpt0"}, stay[:4]...) {
		if err := os.WriteFile(filepath.Join(s.Dir(), name), []byte("MUSTERC\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(s.Dir(), 1, nil); err != nil {
		t.Fatal(err)
	}
	slices.Sort(stay)
	if got := names(t, s.Dir()); !slices.Equal(got, stay) {
		t.Errorf("%v, want %v", got, stay)
	}
}

// A link that an interrupted save of the same step left is no obstacle.
func TestLeftoverLinkIsReplaced(t *testing.T) {
	s, _ := store(t, 1)
	if err := os.WriteFile(filepath.Join(s.Dir(), ".best.ckpt2"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	linked := false
	s.link = func(from, to string) error {
		err := os.Link(from, to)
		linked = err == nil
		return err
	}
	save(t, s, 2, true)
	if got, want := names(t, s.Dir()), []string{"best.ckpt", stepName(2)}; !linked || !slices.Equal(got, want) {
		t.Errorf("linked %v: %v, want %v", linked, got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, 1, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as directory: %v", err)
	}
	if _, err := Open(t.TempDir(), 0, nil); err == nil || !strings.Contains(err.Error(), "keep 0: at least 1") {
		t.Errorf("keep 0: %v", err)
	}
}

func TestFind(t *testing.T) {
	s, _ := store(t, 3)
	first, second := save(t, s, 1, true), save(t, s, 2, false)
	best := filepath.Join(s.Dir(), "best.ckpt")
	empty := t.TempDir()
	for _, tc := range []struct {
		path, which, want string
		err               error
	}{
		{s.Dir(), WhichNewest, second, nil},
		{s.Dir(), WhichBest, best, nil},
		{first, WhichNewest, first, nil},
		{first, WhichBest, first, nil},
		{empty, WhichNewest, "", ErrNone},
		{empty, WhichBest, "", ErrNone},
		{filepath.Join(empty, "no"), WhichNewest, "", ErrNone},
	} {
		if got, err := Find(tc.path, tc.which, nil); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("Find(%s, %s) = %s, %v; want %s, %v", tc.path, tc.which, got, err, tc.want, tc.err)
		}
	}
	if _, err := Find(s.Dir(), "last", nil); err == nil || !strings.Contains(err.Error(), `"last": newest and best are allowed`) {
		t.Errorf("which: %v", err)
	}

	var log bytes.Buffer
	damage(t, second)
	if got, err := Find(s.Dir(), WhichNewest, slog.New(slog.NewTextHandler(&log, nil))); got != first || err != nil || !strings.Contains(log.String(), second) {
		t.Errorf("newest corrupt: %s, %v; log %s", got, err, &log)
	}
	damage(t, best)
	if _, err := Find(s.Dir(), WhichBest, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("best corrupt: %v", err)
	}
	// Find looks and does not touch: another process may be writing.
	unfinished := filepath.Join(s.Dir(), ".step-0000000003.ckpt1")
	if err := os.WriteFile(unfinished, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _ = Find(s.Dir(), WhichNewest, nil)
	if _, err := os.Stat(unfinished); err != nil {
		t.Errorf("Find removed the file another process writes: %v", err)
	}
}

// A listed file may be gone when it is read, because the job has pruned it.
func TestNewestLooksAgainWhenAFileVanishes(t *testing.T) {
	s, _ := store(t, 1)
	save(t, s, 1, false)
	tries := 0
	path, err := newest(s.Dir(), orDiscard(nil), func(path string) error {
		if tries++; tries == 1 {
			save(t, s, 2, false) // deletes step 1
		}
		return Verify(path)
	})
	if err != nil || filepath.Base(path) != stepName(2) {
		t.Errorf("%s, %v; want %s", path, err, stepName(2))
	}
}

// A process that saves one checkpoint after the other is killed at once after
// it has reported one; that one, or a later one, must be there and whole.
func TestKilledProcessLosesNothingItHasReported(t *testing.T) {
	const variable = "MUSTER_TEST_SAVE_INTO"
	if dir := os.Getenv(variable); dir != "" {
		s, err := Open(dir, 2, nil)
		for step := uint64(1); err == nil; step++ {
			if _, err = s.Save(t.Context(), sample(t, step), step%2 == 0); err == nil {
				fmt.Printf("saved %d\n", step)
			}
		}
		t.Fatal(err)
	}
	for kill := 1; kill <= 6; kill++ {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcessLosesNothingItHasReported$")
		cmd.Env = append(os.Environ(), variable+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		reported := 0
		for lines := bufio.NewScanner(out); reported < 3*kill && lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "saved "); ok {
				reported, _ = strconv.Atoi(n)
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if reported < 3*kill {
			t.Fatalf("the process ended after step %d", reported)
		}
		s, err := Open(dir, 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names(t, dir) {
			if temporary.MatchString(name) {
				t.Errorf("%s is still there", name)
			}
			if err := Verify(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
		state, path, err := s.Newest()
		if err != nil || state.Step < uint64(reported) {
			t.Fatalf("step %d was reported, newest is %s, %v", reported, path, err)
		}
		compare(t, state, sample(t, state.Step))
	}
}
