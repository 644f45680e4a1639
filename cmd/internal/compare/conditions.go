package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// conditionsFile lies beside a network's checkpoints.
const conditionsFile = "conditions.json"

// Conditions are what a network is trained under. They are written when its
// training begins, so that one that goes on later, or is reported beside others,
// is known to have had the same.
type Conditions struct {
	Settings Settings `json:"settings"`
	Machine  Machine  `json:"machine"`
	Data     Data     `json:"data"`
}

// Conditions are those of the experiment.
func (x *Experiment) Conditions() Conditions { return Conditions{x.Settings, x.Machine, x.Data} }

// Difference names the first thing that was otherwise, and both values; "": none
// was. More epochs, and another build, make the same experiment.
func (c Conditions) Difference(had Conditions) string {
	for _, d := range []struct {
		what      string
		now, then any
	}{
		{"batch", c.Settings.Batch, had.Settings.Batch},
		{"shards", c.Settings.Shards, had.Settings.Shards},
		{"limit-batches", c.Settings.Limit, had.Settings.Limit},
		{"seed", c.Settings.Seed, had.Settings.Seed},
		{"workers", c.Settings.Workers, had.Settings.Workers},
		{"threads", c.Settings.Threads, had.Settings.Threads},
		{"device", c.Settings.Device, had.Settings.Device},
		{"data", c.Data.Name, had.Data.Name},
		{"data's fingerprint", short(c.Data.Fingerprint), short(had.Data.Fingerprint)},
		{"CPU", c.Machine.CPU, had.Machine.CPU},
		{"number of CPUs", c.Machine.CPUs, had.Machine.CPUs},
	} {
		if d.now != d.then {
			return fmt.Sprintf("%s is %v here and was %v there", d.what, d.now, d.then)
		}
	}
	return ""
}

func short(hash string) string { return fmt.Sprintf("%.12s", hash) }

// ReadConditions reads those of the network whose checkpoints lie in dir; nil:
// its training has not begun.
func ReadConditions(dir string) (*Conditions, error) {
	text, err := os.ReadFile(filepath.Join(dir, conditionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("comparison: %w", err)
	}
	c := &Conditions{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, conditionsFile), err)
	}
	return c, nil
}

// Write writes them into dir, which it makes.
func (c Conditions) Write(dir string) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("comparison: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("comparison: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, conditionsFile), append(text, '\n'), 0o644, renameio.WithTempDir(dir)); err != nil {
		return fmt.Errorf("comparison: %w", err)
	}
	return nil
}
