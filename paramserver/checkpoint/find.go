package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// What Find looks for in a directory.
const (
	WhichNewest = "newest"
	WhichBest   = "best"
)

// finished matches the name of a step's checkpoint.
var finished = regexp.MustCompile(`^step-(\d{10,20})\.ckpt$`)

// stepName returns the name of the checkpoint of a step.
func stepName(step uint64) string { return fmt.Sprintf("step-%010d.ckpt", step) }

// Find returns the checkpoint file that path stands for: path itself if it is a
// file, else the newest whole checkpoint or the best one of the directory. It
// changes nothing, and may be used beside a running job. Corrupt files passed
// over are named in the log; a nil log drops all messages. The error wraps
// ErrNone if there is no such checkpoint.
func Find(path, which string, log *slog.Logger) (string, error) {
	if which != WhichNewest && which != WhichBest {
		return "", fmt.Errorf("checkpoint %q: %s and %s are allowed", which, WhichNewest, WhichBest)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: %s does not exist", ErrNone, path)
	case err != nil:
		return "", fmt.Errorf("checkpoint: %w", err)
	case !info.IsDir():
		return path, nil
	case which == WhichNewest:
		return newest(path, orDiscard(log), Verify)
	}
	best := filepath.Join(path, bestName)
	if err := Verify(best); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s has no %s; it is written at the first evaluation", ErrNone, path, bestName)
	} else if err != nil {
		return "", err
	}
	return best, nil
}

// list returns the steps of all checkpoints in dir, the newest first.
func list(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var steps []uint64
	for _, e := range entries {
		match := finished.FindStringSubmatch(e.Name())
		if match == nil || !e.Type().IsRegular() {
			continue
		}
		step, err := strconv.ParseUint(match[1], 10, 64)
		if err == nil && stepName(step) == e.Name() {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	slices.Reverse(steps)
	return steps, nil
}

// newest returns the path of the newest checkpoint in dir that try accepts.
// best.ckpt counts as the oldest: it is taken where no step's checkpoint is left.
func newest(dir string, log *slog.Logger, try func(path string) error) (string, error) {
	const attempts = 3 // a running job may delete what was listed
	var firstCorrupt error
	for range attempts {
		steps, err := list(dir)
		if err != nil {
			return "", fmt.Errorf("checkpoint directory: %w", err)
		}
		names := make([]string, 0, len(steps)+1)
		for _, step := range steps {
			names = append(names, stepName(step))
		}
		firstCorrupt = nil
		vanished := false
		for _, name := range append(names, bestName) {
			path := filepath.Join(dir, name)
			err := try(path)
			switch {
			case err == nil:
				return path, nil
			case errors.Is(err, ErrCorrupt):
				log.Warn("a corrupt checkpoint is passed over", "error", err)
				if firstCorrupt == nil {
					firstCorrupt = err
				}
			case errors.Is(err, fs.ErrNotExist):
				vanished = vanished || name != bestName
			default:
				return "", err
			}
		}
		if !vanished {
			break
		}
	}
	if firstCorrupt != nil {
		return "", fmt.Errorf("no whole checkpoint in %s: %w", dir, firstCorrupt)
	}
	return "", fmt.Errorf("%w in %s", ErrNone, dir)
}

// orDiscard returns log, or one that drops everything.
func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
