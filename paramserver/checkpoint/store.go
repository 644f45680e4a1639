package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"
)

// bestName is the checkpoint of the best score so far; it has the bytes of a
// step's checkpoint, which may be gone.
const bestName = "best.ckpt"

// supersededPrefix marks checkpoints of steps that a job has gone back before.
const supersededPrefix = "superseded-"

// These match the names of files that are being written, or were when their process
// died. Terms are written under the lock of the directory, and only removed under it.
var (
	temporaryCheckpoint = regexp.MustCompile(`^\.(step-\d{10,20}|best)\.ckpt\d+$`)
	temporary           = regexp.MustCompile(`^\.((step-\d{10,20}|best)\.ckpt|term)\d+$`)
)

// Store is the directory of one job's checkpoints: step-0000000123.ckpt, the
// newest of them, and best.ckpt. One Store writes to a directory at a time, or
// several of which each has called Lead in a term of its own: of these, the one of
// the highest term. A Store on which Lead was never called has no term; it
// neither heeds terms that are noted nor notes any. But for Lead and Term its
// methods are not safe for concurrent use. Readers in other processes need no
// Store: see Find.
type Store struct {
	dir      string
	keep     int
	log      *slog.Logger
	link     func(old, new string) error // os.Link, but in tests
	patience time.Duration               // lockPatience, but in tests

	term  atomic.Uint64 // of the last Lead; 0: none
	swept bool          // temporary files of others have been removed, or are left to Lead
}

// Open makes the directory if it is not there, and removes temporary files that
// a killed process left. Where a term is noted a leader may be writing one, and
// they are left to Lead, or to the first Save of a Store that has no term. keep is
// how many of the newest checkpoints remain besides best.ckpt, at least 1. A nil
// log drops all messages.
func Open(dir string, keep int, log *slog.Logger) (*Store, error) {
	if keep < 1 {
		return nil, fmt.Errorf("checkpoint: keep %d: at least 1 is allowed", keep)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	s := &Store{dir: dir, keep: keep, log: orDiscard(log), link: os.Link, patience: lockPatience}
	// Listed before the look for a term: who leads has noted that before it writes
	// checkpoints. A term itself may just be being noted.
	unfinished, err := s.unfinished(temporaryCheckpoint)
	if err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, termName)); err == nil {
		return s, nil
	}
	if err := s.remove(unfinished); err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	s.swept = true
	return s, nil
}

// sweep removes temporary files of a kind.
func (s *Store) sweep(kind *regexp.Regexp) error {
	s.swept = true
	unfinished, err := s.unfinished(kind)
	if err != nil {
		return err
	}
	return s.remove(unfinished)
}

// unfinished returns the names of temporary files of a kind.
func (s *Store) unfinished(kind *regexp.Regexp) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if kind.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (s *Store) remove(names []string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.log.Info("removed an unfinished checkpoint", "file", name)
	}
	return nil
}

// Dir returns the directory.
func (s *Store) Dir() string { return s.dir }

// Newest returns the newest whole checkpoint and its path. A corrupt one is
// named in the log and the one before it is taken. The error wraps ErrNone if
// there is none at all, ErrCorrupt if there are some and none is whole.
func (s *Store) Newest() (*State, string, error) {
	var state *State
	path, err := newest(s.dir, s.log, func(path string) (err error) {
		state, err = Read(path)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return state, path, nil
}

// After is Newest, where that is of a later step than the given one, and else an error that
// wraps ErrNone. Where no name promises a later step, nothing is read.
func (s *Store) After(step uint64) (*State, string, error) {
	none := fmt.Errorf("%w of a later step than %d in %s", ErrNone, step, s.dir)
	if steps, err := list(s.dir); err != nil || len(steps) == 0 || steps[0] <= step {
		return nil, "", cmp.Or(err, none)
	}
	state, path, err := s.Newest()
	if err == nil && state.Step <= step { // what is later is corrupt
		return nil, "", none
	}
	return state, path, err
}

// Save writes state, also as the best one if best, and returns the path of its
// file. When it returns without error the checkpoint is durable; with an
// error, or if the process dies, earlier checkpoints are as they were. Then
// those that are no longer kept are deleted.
//
// Checkpoints of later steps belong to a course the job has left by going back;
// they are renamed to superseded-step-*.ckpt, which nobody reads on resuming.
//
// If Lead was called, and a higher term is noted by the time that the file is to
// become visible, the error wraps ErrDeposed, and nothing was put in place, deleted
// or renamed.
//
// state must not change until Save returns.
func (s *Store) Save(ctx context.Context, state *State, best bool) (string, error) {
	path := filepath.Join(s.dir, stepName(state.Step))
	if err := s.save(ctx, path, state, best); err != nil {
		return "", fmt.Errorf("checkpoint of step %d: %w", state.Step, err)
	}
	return path, nil
}

func (s *Store) save(ctx context.Context, path string, state *State, best bool) error {
	if s.term.Load() == 0 && !s.swept {
		if err := s.sweep(temporaryCheckpoint); err != nil {
			return err
		}
	}
	file, err := s.write(ctx, path, state)
	if err != nil {
		return err
	}
	defer file.Cleanup()
	var copied string
	if best {
		if copied, err = s.copyForBest(ctx, file.Name(), state); err != nil {
			return err
		}
		defer os.Remove(copied) // which is gone when all went well
	}
	// All is flushed already, so the lock is held for a moment only. Deleting is
	// part of it: a server deposed in between would take its successor's files for
	// those of a course that the job has left.
	release, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer release()
	if best {
		// First, so that a checkpoint that calls itself the best is never newer than best.ckpt.
		if err := os.Rename(copied, filepath.Join(s.dir, bestName)); err != nil {
			return fmt.Errorf("as the best: %w", err)
		}
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	s.prune(state.Step)
	return nil
}

// write writes state to a temporary file beside path and flushes it to the
// disk; renaming it is left to the caller.
func (s *Store) write(ctx context.Context, path string, state *State) (*renameio.PendingFile, error) {
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(s.dir), renameio.WithPermissions(0o644))
	if err != nil {
		return nil, err
	}
	if err = Encode(contextWriter{ctx, file}, state); err == nil {
		err = file.Sync()
	}
	if err != nil {
		file.Cleanup()
		return nil, err
	}
	return file, nil
}

// copyForBest makes a temporary file that may become best.ckpt of the file written
// at source, and returns its path: by a hard link, or by writing it once more where
// the file system has none.
func (s *Store) copyForBest(ctx context.Context, source string, state *State) (string, error) {
	link := filepath.Join(s.dir, "."+bestName+strconv.FormatUint(state.Step, 10))
	if term := s.term.Load(); term != 0 {
		// Another server may be at the same step. A step has 20 digits at most.
		link = filepath.Join(s.dir, fmt.Sprintf(".%s%d%020d", bestName, term, state.Step))
	}
	os.Remove(link)
	if s.link(source, link) == nil {
		return link, nil
	}
	file, err := s.write(ctx, filepath.Join(s.dir, bestName), state)
	if err != nil {
		return "", fmt.Errorf("as the best: %w", err)
	}
	if err := file.Close(); err != nil {
		os.Remove(file.Name())
		return "", fmt.Errorf("as the best: %w", err)
	}
	return file.Name(), nil
}

// prune deletes all but the newest checkpoints and sets later ones aside. The
// checkpoint of step is durable already, so what goes wrong here is logged only.
func (s *Store) prune(step uint64) {
	steps, err := list(s.dir)
	if err != nil {
		s.log.Warn("old checkpoints stay", "error", err)
		return
	}
	kept := 0
	for _, n := range steps {
		name := stepName(n)
		path := filepath.Join(s.dir, name)
		switch {
		case n > step:
			s.log.Warn("a checkpoint of a later step is set aside", "file", name, "as", supersededPrefix+name, "step", step)
			err = os.Rename(path, filepath.Join(s.dir, supersededPrefix+name))
		case kept < s.keep:
			kept++
		default:
			err = os.Remove(path)
		}
		if err != nil {
			s.log.Warn("an old checkpoint stays", "file", name, "error", err)
			err = nil
		}
	}
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// contextWriter refuses to write once its context has ended.
type contextWriter struct {
	ctx context.Context // lives as long as one call of Save
	w   io.Writer
}

func (c contextWriter) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(b)
}
