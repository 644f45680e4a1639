package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/muster-train/muster/model/params"
)

var (
	// ErrCorrupt is wrapped where a file is not a whole checkpoint.
	ErrCorrupt = errors.New("corrupt checkpoint")
	// ErrVersion is wrapped where a file is of a format this program does not read.
	ErrVersion = errors.New("checkpoint of another format version")
	// ErrLayout is wrapped where a checkpoint is of another layout than wanted.
	ErrLayout = errors.New("checkpoint of another layout")
	// ErrNone is wrapped where there is no checkpoint.
	ErrNone = errors.New("no checkpoint")
)

// Meta is what a checkpoint says about itself, stored as JSON.
type Meta struct {
	Job       json.RawMessage `json:"job,omitempty"` // canonical job specification; kept compact, otherwise as given
	JobHash   string          `json:"job_hash"`
	Network   string          `json:"network"`
	Schedule  string          `json:"schedule"` // canonical text of the learning-rate schedule
	Data      Data            `json:"data"`
	Step      uint64          `json:"step"`    // updates applied; epoch and batch follow from it
	Samples   uint64          `json:"samples"` // images whose gradients have been applied
	Best      *Score          `json:"best,omitempty"`
	History   []EpochScore    `json:"history,omitempty"` // one entry per epoch evaluated, in order
	Running   *Running        `json:"running,omitempty"` // the epoch in progress; nil: none has begun
	NotFinite uint64          `json:"not_finite"`        // contributions refused because of NaN or Inf
	Final     bool            `json:"final"`             // the job has ended with this step
}

// Data identifies the images the job is trained on.
type Data struct {
	Fingerprint string `json:"fingerprint"`
	TrainImages int    `json:"train_images"`
	TestImages  int    `json:"test_images"`
	Classes     int    `json:"classes"`
	Synthetic   bool   `json:"synthetic"`

	ClassNames []string `json:"class_names,omitempty"` // label 0 first; absent in files of earlier versions
}

// Same tells whether d and o are the same images.
func (d Data) Same(o Data) bool {
	d.ClassNames, o.ClassNames = nil, nil
	return reflect.DeepEqual(d, o)
}

// Running is what an epoch has come to so far, so that a process that takes it
// up in its midst can tell what the whole of it came to.
type Running struct {
	Images  int   `json:"images"` // trained on
	Loss    Float `json:"loss"`   // sums over them
	Top1    int   `json:"top1"`
	Seconds Float `json:"seconds"` // wall-clock time, while a process ran
}

// Score is the best evaluation so far.
type Score struct {
	Step     uint64 `json:"step"`
	Epoch    int    `json:"epoch"`
	Accuracy Float  `json:"accuracy"` // top 1, as a fraction
	Loss     Float  `json:"loss"`
}

// EpochScore is what one epoch came to.
type EpochScore struct {
	Epoch     int    `json:"epoch"` // counted from 0
	Step      uint64 `json:"step"`  // updates applied at its end
	Samples   uint64 `json:"samples"`
	TrainLoss Float  `json:"train_loss"` // mean over the epoch's training images, as they were met
	TestLoss  Float  `json:"test_loss"`
	Top1      Float  `json:"top1"` // of the test set, as a fraction
	Top5      Float  `json:"top5"`
	Rate      Float  `json:"rate"`    // learning rate of the epoch's last step
	Seconds   Float  `json:"seconds"` // wall-clock time of the epoch while a process ran, evaluation included
}

// Float is a float64 that JSON can hold even when it is not finite: then it is
// the text "NaN", "+Inf" or "-Inf". A diverging job can so still be saved.
type Float float64

// MarshalJSON writes the shortest text that reads back the same.
func (f Float) MarshalJSON() ([]byte, error) {
	x := float64(f)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return strconv.AppendQuote(nil, strconv.FormatFloat(x, 'g', -1, 64)), nil
	}
	return json.Marshal(x)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Float) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case `"NaN"`:
		*f = Float(math.NaN())
	case `"+Inf"`:
		*f = Float(math.Inf(1))
	case `"-Inf"`:
		*f = Float(math.Inf(-1))
	default:
		return json.Unmarshal(text, (*float64)(f))
	}
	return nil
}

// State is the whole state of a job at one step.
type State struct {
	Meta
	Layout     *params.Layout // names and shapes of the tensors in both vectors
	Parameters []float32      // Layout.Size() values
	Momentum   []float32      // velocities, as many
}

// Validate returns an error where the vectors do not have the layout's size or
// the job specification is not JSON.
func (s *State) Validate() error {
	if s.Layout == nil {
		return errors.New("checkpoint: state without a layout")
	}
	for _, v := range []struct {
		name string
		n    int
	}{{"parameters", len(s.Parameters)}, {"momentum", len(s.Momentum)}} {
		if v.n != s.Layout.Size() {
			return fmt.Errorf("checkpoint: %s has %d values, the layout %d", v.name, v.n, s.Layout.Size())
		}
	}
	if len(s.Job) > 0 && !json.Valid(s.Job) {
		return fmt.Errorf("checkpoint: job specification %.40q is not JSON", s.Job)
	}
	return nil
}

// CheckLayout returns nil if both layouts have the same tensors in the same
// order, else an error that wraps ErrLayout and says which tensor differs
// first. have is the checkpoint's, want the network's.
func CheckLayout(have, want *params.Layout) error {
	h, w := have.Tensors(), want.Tensors()
	for i := range max(len(h), len(w)) {
		switch {
		case i >= len(h):
			return fmt.Errorf("%w: it has %d tensors and lacks %s %v", ErrLayout, len(h), w[i].Name, w[i].Shape)
		case i >= len(w):
			return fmt.Errorf("%w: its tensor %d, %s %v, is not in the network", ErrLayout, i, h[i].Name, h[i].Shape)
		case h[i].Name != w[i].Name:
			return fmt.Errorf("%w: its tensor %d is %s %v, the network's is %s %v", ErrLayout, i, h[i].Name, h[i].Shape, w[i].Name, w[i].Shape)
		case !slices.Equal(h[i].Shape, w[i].Shape):
			return fmt.Errorf("%w: its tensor %s is %v, the network's is %v", ErrLayout, h[i].Name, h[i].Shape, w[i].Shape)
		}
	}
	return nil
}
