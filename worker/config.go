package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model/device"
)

// Config is what one worker is made of.
type Config struct {
	ID         string         // unique in the job, kept over reconnection
	Host       string         // for people
	JobName    string         // job to take part in; empty: whatever the server trains
	Pinned     *dataset.Shard // the one shard it insists on; nil: what it is assigned
	Registered bool           // it holds its own lease in etcd
	Data       *dataset.Set
	Device     device.Device
	Log        *slog.Logger
	Meter      *Meter // told of what the worker does; nil: nobody counts

	FirstWait   time.Duration // pause before the second try to reach the server; grows to LongestWait
	LongestWait time.Duration
	MaxWait     time.Duration // how long the server may be out of reach, at first or since the connection was lost; 0: for ever
}

// DefaultConfig is what the worker command uses where no flag says otherwise.
func DefaultConfig() Config {
	return Config{
		Log:         slog.New(slog.DiscardHandler),
		FirstWait:   100 * time.Millisecond,
		LongestWait: 2 * time.Second,
	}
}

// Validate returns one sentence about the first setting that can't work.
func (c *Config) Validate() error {
	switch {
	case c.ID == "":
		return errors.New("worker: no id")
	case c.Data == nil:
		return errors.New("worker: no data")
	case c.Device == nil:
		return errors.New("worker: no device")
	case c.MaxWait < 0:
		return fmt.Errorf("worker: longest wait for the server %v: at least 0 is needed", c.MaxWait)
	case c.FirstWait <= 0 || c.LongestWait < c.FirstWait:
		return errors.New("worker: pauses between tries must be positive and grow")
	}
	if c.Pinned != nil {
		return c.Pinned.Validate()
	}
	return nil
}
