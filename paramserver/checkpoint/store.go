package checkpoint

import (
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

	"github.com/google/renameio/v2"
)

// bestName is the checkpoint of the best score so far; it has the bytes of a
// step's checkpoint, which may be gone.
const bestName = "best.ckpt"

// supersededPrefix marks checkpoints of steps that a job has gone back before.
const supersededPrefix = "superseded-"

// temporary matches the names of files that are being written, or were when
// their process died.
var temporary = regexp.MustCompile(`^\.(step-\d{10,20}|best)\.ckpt\d+$`)

// Store is the directory of one job's checkpoints: step-0000000123.ckpt, the
// newest of them, and best.ckpt. One Store writes to a directory at a time;
// its methods are not safe for concurrent use. Readers in other processes need
// no Store: see Find.
type Store struct {
	dir  string
	keep int
	log  *slog.Logger
	link func(old, new string) error // os.Link, but in tests
}

// Open makes the directory if it is not there, and removes temporary files that
// a killed process left. keep is how many of the newest checkpoints remain
// besides best.ckpt, at least 1. A nil log drops all messages.
func Open(dir string, keep int, log *slog.Logger) (*Store, error) {
	if keep < 1 {
		return nil, fmt.Errorf("checkpoint: keep %d: at least 1 is allowed", keep)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	s := &Store{dir: dir, keep: keep, log: orDiscard(log), link: os.Link}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	for _, e := range entries {
		if !temporary.MatchString(e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("checkpoint directory: %w", err)
		}
		s.log.Info("removed an unfinished checkpoint", "file", e.Name())
	}
	return s, nil
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

// Save writes state, also as the best one if best, and returns the path of its
// file. When it returns without error the checkpoint is durable; with an
// error, or if the process dies, earlier checkpoints are as they were. Then
// those that are no longer kept are deleted.
//
// Checkpoints of later steps belong to a course the job has left by going back;
// they are renamed to superseded-step-*.ckpt, which nobody reads on resuming.
//
// state must not change until Save returns.
func (s *Store) Save(ctx context.Context, state *State, best bool) (string, error) {
	path := filepath.Join(s.dir, stepName(state.Step))
	file, err := s.write(ctx, path, state)
	if err != nil {
		return "", err
	}
	defer file.Cleanup()
	if best {
		// First, so that a checkpoint that calls itself the best is never newer than best.ckpt.
		if err := s.setBest(ctx, file.Name(), state); err != nil {
			return "", err
		}
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return "", fmt.Errorf("checkpoint of step %d: %w", state.Step, err)
	}
	if err := syncDir(s.dir); err != nil {
		return "", fmt.Errorf("checkpoint of step %d: %w", state.Step, err)
	}
	s.prune(state.Step)
	return path, nil
}

// write writes state to a temporary file beside path and flushes it to the
// disk; renaming it is left to the caller.
func (s *Store) write(ctx context.Context, path string, state *State) (*renameio.PendingFile, error) {
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(s.dir), renameio.WithPermissions(0o644))
	if err != nil {
		return nil, fmt.Errorf("checkpoint of step %d: %w", state.Step, err)
	}
	if err = Encode(contextWriter{ctx, file}, state); err == nil {
		err = file.Sync()
	}
	if err != nil {
		file.Cleanup()
		return nil, fmt.Errorf("checkpoint of step %d: %w", state.Step, err)
	}
	return file, nil
}

// setBest makes best.ckpt the file written at source: by a hard link, or by
// writing it once more where the file system has none.
func (s *Store) setBest(ctx context.Context, source string, state *State) error {
	path := filepath.Join(s.dir, bestName)
	link := filepath.Join(s.dir, "."+bestName+strconv.FormatUint(state.Step, 10))
	os.Remove(link)
	if err := s.link(source, link); err != nil {
		file, err := s.write(ctx, path, state)
		if err != nil {
			return err
		}
		defer file.Cleanup()
		if err := file.CloseAtomicallyReplace(); err != nil {
			return fmt.Errorf("best checkpoint: %w", err)
		}
		return nil
	}
	if err := os.Rename(link, path); err != nil {
		os.Remove(link)
		return fmt.Errorf("best checkpoint: %w", err)
	}
	return nil
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
