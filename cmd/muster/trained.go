package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/model/topology"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// checkpointOptions name the checkpoint that a tool works on.
type checkpointOptions struct{ path, which string }

// whichLast is another word for the newest checkpoint.
const whichLast = "last"

func (o *checkpointOptions) define(flags *pflag.FlagSet) {
	settings.Group(flags, "Checkpoint", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.path, "checkpoint", "muster-default", "`path` of a checkpoint or of a directory of them, as muster train writes")
		settings.Enum(fs, &o.which, "which", checkpoint.WhichNewest, []string{checkpoint.WhichNewest, whichLast, checkpoint.WhichBest}, "the one to take from a directory")
	})
}

// read finds the checkpoint and reads it.
func (o *checkpointOptions) read(cmd *cobra.Command, log *slog.Logger) (*checkpoint.State, string, error) {
	which := o.which
	if info, err := os.Stat(o.path); err == nil && info.Mode().IsRegular() && cmd.Flags().Changed("which") {
		return nil, "", settings.Usagef("%s %s: %s is one checkpoint, not a directory of them", settings.Origin(cmd, "which"), which, o.path)
	}
	if which == whichLast {
		which = checkpoint.WhichNewest
	}
	path, err := checkpoint.Find(o.path, which, log)
	if errors.Is(err, checkpoint.ErrNone) {
		return nil, "", settings.Usagef("%w; --checkpoint names one, and muster train makes one", err)
	}
	if err != nil {
		return nil, "", settings.Usage(err)
	}
	state, err := checkpoint.Read(path)
	if err != nil {
		return nil, "", settings.Usage(err)
	}
	return state, path, nil
}

// topologyBeside reads the topology that lies with a checkpoint.
func topologyBeside(path string) (*musterv1.Topology, error) {
	t, err := topology.Read(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, settings.Usagef("%s or %s is not beside %s: --topology and --parameters name a topology and a checkpoint that lie elsewhere",
			topology.FileProto, topology.FileJSON, path)
	}
	return t, settings.Usage(err)
}

// sameNetwork refuses a topology that is not of the network whose checkpoint
// this is, though its tensors have the same names and shapes.
func sameNetwork(t *musterv1.Topology, state *checkpoint.State) error {
	var job musterv1.JobSpec
	if err := protojson.Unmarshal(state.Job, &job); err != nil {
		return fmt.Errorf("job specification: %w", err)
	}
	for _, d := range []struct{ what, topology, checkpoint any }{
		{"network", t.Network, state.Network},
		{"activation", t.Activation, job.Activation},
		{"synthetic images", t.Synthetic, state.Data.Synthetic},
	} {
		if d.topology != d.checkpoint {
			return fmt.Errorf("the topology is of another network: its %v is %v, the checkpoint's %v", d.what, d.topology, d.checkpoint)
		}
	}
	return nil
}

// networkOf is the topology made ready, checked against a checkpoint.
func networkOf(t *musterv1.Topology, state *checkpoint.State, path string) (*topology.Network, error) {
	net, err := topology.Build(t)
	if err != nil {
		return nil, settings.Usage(err)
	}
	if err := checkpoint.CheckLayout(state.Layout, net.Layout); err != nil {
		return nil, settings.Usagef("%s: %w", path, err)
	}
	if err := sameNetwork(t, state); err != nil {
		return nil, settings.Usagef("%s: %w", path, err)
	}
	return net, nil
}

// isSafetensors tells by a file's name.
func isSafetensors(path string) bool { return strings.HasSuffix(path, ".safetensors") }
