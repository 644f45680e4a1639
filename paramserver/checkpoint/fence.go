package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// ErrDeposed is wrapped where a server of a higher term writes to the directory.
var ErrDeposed = errors.New("deposed")

const (
	termName = "term" // the highest term noted, in decimal, and a line feed
	lockName = "lock" // whose lock is held while files are put in their places; empty, never removed

	// lockPatience is how long the lock is waited for. It is held for a few renames
	// and a flush; longer only by a process that was stopped just then.
	lockPatience = 10 * time.Second
	// lockPause is between two tries to take it.
	lockPause = 5 * time.Millisecond
)

// Lead notes that a server of this term, at least 1, writes to the directory from
// now on. Once it has returned nil, no Save of a lower term becomes visible, in
// whatever process. The error wraps ErrDeposed if a higher term is noted already.
//
// The first Lead of a Store also removes the temporary files of servers before
// it. Call it before the first Save; Lead in a new term, and Term, may be called
// beside a Save.
func (s *Store) Lead(term uint64) error {
	if err := s.lead(term); err != nil {
		return fmt.Errorf("checkpoint directory: lead in term %d: %w", term, err)
	}
	return nil
}

func (s *Store) lead(term uint64) error {
	if term == 0 {
		return errors.New("terms count from 1")
	}
	release, err := s.lock(context.Background())
	if err != nil {
		return err
	}
	defer release()
	if err := s.checkTerm(term); err != nil {
		return err
	}
	// Also where it is noted already: who noted it may have died before the flush.
	path := filepath.Join(s.dir, termName)
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(s.dir), renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer file.Cleanup()
	if _, err := fmt.Fprintf(file, "%d\n", term); err != nil {
		return err
	}
	if err := file.CloseAtomicallyReplace(); err != nil { // it flushes the file first
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	// Set while the lock is held, so that a Save beside this call sees both old or both new.
	if s.term.Swap(term) == 0 {
		if err := s.sweep(temporary); err != nil {
			s.log.Warn("unfinished checkpoints stay", "error", err)
		}
	}
	return nil
}

// Term returns the highest term noted in the directory, 0 if there is none.
func (s *Store) Term() (uint64, error) {
	path := filepath.Join(s.dir, termName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	// The line feed tells that no digits are missing.
	digits, whole := strings.CutSuffix(string(text), "\n")
	term, err := strconv.ParseUint(digits, 10, 64)
	if !whole || err != nil || term == 0 {
		return 0, fmt.Errorf("%s: %.40q is no term: want a number from 1 on and a line feed", path, text)
	}
	return term, nil
}

// checkTerm returns ErrDeposed if a higher term is noted.
func (s *Store) checkTerm(term uint64) error {
	noted, err := s.Term()
	if err != nil {
		return err
	}
	if noted > term {
		return fmt.Errorf("%w: a server of term %d writes to %s, this one is of term %d", ErrDeposed, noted, s.dir, term)
	}
	return nil
}

// enter begins the part of a Save in which its files are put in their places: no
// term is noted until release. Without terms there is nothing to wait for.
func (s *Store) enter(ctx context.Context) (release func(), err error) {
	if s.term.Load() == 0 {
		return func() {}, nil
	}
	release, err = s.lock(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkTerm(s.term.Load()); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// lock takes the directory's lock, which ends with release or the process.
func (s *Store) lock(ctx context.Context) (release func(), err error) {
	path := filepath.Join(s.dir, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.patience,
		fmt.Errorf("the lock %s has been held by another server for %v", path, s.patience))
	defer cancel()
	for {
		locked, err := flock(file)
		if locked {
			return func() { file.Close() }, nil
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		// A blocking lock could not be given up.
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			file.Close()
			return nil, context.Cause(ctx)
		}
	}
}
