package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/model/safetensors"
	"github.com/muster-train/muster/model/topology"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// metadataTopology is where an exported file holds its topology, as JSON.
const metadataTopology = "topology"

// Formats of an export.
const (
	formatSafetensors = "safetensors"
	formatTopology    = "topology"
)

type exportOptions struct {
	checkpoint     checkpointOptions
	logs           logs.Options
	format, output string
}

func exportCommand() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write a checkpoint's parameters for other programs",
		Long: `Export writes the parameters of a checkpoint as a safetensors file whose tensors
are named as a PyTorch module would have them, with the network's topology
within it; python/muster_torch.py makes the module. Or the topology alone.`,
		Example: `  muster export --which best -o alexnet.safetensors
  muster export --format topology -o topology.json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return export(cmd, &o) },
	}
	o.checkpoint.define(cmd.Flags())
	settings.Group(cmd.Flags(), "Export", func(fs *pflag.FlagSet) {
		settings.Enum(fs, &o.format, "format", formatSafetensors, []string{formatSafetensors, formatTopology}, "what to write")
		fs.StringVarP(&o.output, "output", "o", "", "`file` to write, replaced if it is there; - is standard output (default NETWORK.safetensors or topology.json)")
	})
	o.logs.Define(cmd.Flags())
	return cmd
}

func export(cmd *cobra.Command, o *exportOptions) error {
	log, _, err := o.logs.Open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if o.output != "" && o.output != "-" {
		if info, err := os.Stat(filepath.Dir(o.output)); err != nil || !info.IsDir() {
			return settings.Usagef("%s %q: its directory is not there", settings.Origin(cmd, "output"), o.output)
		}
		if info, err := os.Stat(o.output); err == nil && info.IsDir() {
			return settings.Usagef("%s %q: that is a directory", settings.Origin(cmd, "output"), o.output)
		}
	}
	state, path, err := o.checkpoint.read(cmd, log)
	if err != nil {
		return err
	}
	about, err := topologyBeside(path)
	if err != nil {
		return err
	}
	net, err := networkOf(about, state, path)
	if err != nil {
		return err
	}
	var write func(io.Writer) error
	name := state.Network + ".safetensors"
	switch o.format {
	case formatSafetensors:
		metadata, err := exportMetadata(about, state)
		if err != nil {
			return err
		}
		write = func(w io.Writer) error { return safetensors.Write(w, net.Layout, state.Parameters, metadata) }
	case formatTopology:
		name = topology.FileJSON
		text, err := topology.JSON(about)
		if err != nil {
			return err
		}
		write = func(w io.Writer) error { _, err := w.Write(text); return err }
	}
	if o.output == "-" {
		return write(cmd.OutOrStdout())
	}
	if o.output != "" {
		name = o.output
	}
	if err := writeWhole(name, write); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s of step %d, %d tensors, %d values\n", name, state.Network, state.Step, len(net.Layout.Tensors()), net.Layout.Size())
	return err
}

// exportMetadata is what an exported file says about itself.
func exportMetadata(t *musterv1.Topology, state *checkpoint.State) (map[string]string, error) {
	text, err := topology.JSON(t)
	if err != nil {
		return nil, err
	}
	m := map[string]string{
		"format": "pt", metadataTopology: string(text), "network": state.Network,
		"step": strconv.FormatUint(state.Step, 10), "parameters_sha256": params.Hash(state.Parameters),
		"synthetic": strconv.FormatBool(state.Data.Synthetic),
	}
	for _, e := range state.History {
		if e.Step == state.Step {
			m["test_top1"] = strconv.FormatFloat(float64(e.Top1), 'g', -1, 64)
		}
	}
	return m, nil
}

// writeWhole writes a file that is whole or not there. A pipe or a device is
// written to, not replaced, and so is what a link leads to.
func writeWhole(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return fmt.Errorf("export: %w", err)
			}
			return errors.Join(write(file), file.Close())
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer file.Cleanup()
	if err := write(file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return file.CloseAtomicallyReplace()
}
