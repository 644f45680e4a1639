package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/cmd/internal/work"
	"github.com/muster-train/muster/internal/picture"
	"github.com/muster-train/muster/model/safetensors"
	"github.com/muster-train/muster/model/topology"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// Orders of the channels that a network is given.
const (
	channelsRGB = "rgb"
	channelsBGR = "bgr"
)

type predictOptions struct {
	checkpoint           checkpointOptions
	topology, parameters string
	channels             string
	top                  int
	device               work.Options
	logs                 logs.Options
	json                 bool
}

func predictCommand() *cobra.Command {
	var o predictOptions
	cmd := &cobra.Command{
		Use:   "predict [flags] PICTURE...",
		Short: "Say what is on pictures, with a network that was trained",
		Long: `Predict classifies pictures: JPEG, PNG, GIF or WebP files, or - for standard
input. Each is cut to its central square, scaled to the size of the images that
the network was trained on, and prepared as those were. Nothing is needed but a
topology, which training writes beside its checkpoints, and parameters.`,
		Example: `  muster predict dog.png cat.jpg
  muster predict --checkpoint runs/lrn --which best dog.png
  muster predict --topology topology.json --parameters best.ckpt dog.png
  muster predict --parameters alexnet.safetensors - < dog.png`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return predict(cmd, &o, args) },
	}
	o.checkpoint.define(cmd.Flags())
	settings.Group(cmd.Flags(), "Checkpoint", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.topology, "topology", "", "`path` of a topology, .pb or .json, or its directory, instead of the one beside the checkpoint")
		fs.StringVar(&o.parameters, "parameters", "", "`path` of the parameters, a checkpoint or a .safetensors file, instead of --checkpoint")
	})
	settings.Group(cmd.Flags(), "Prediction", func(fs *pflag.FlagSet) {
		settings.Enum(fs, &o.channels, "channels", channelsRGB, []string{channelsRGB, channelsBGR}, "order in which the network is given the colours; bgr is the habit of the article's program")
		fs.IntVar(&o.top, "top", 5, "`classes` to show of each picture")
	})
	o.device.DefineDevice(cmd.Flags())
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print a line of JSON for each picture")
	return cmd
}

// predict classifies files. One that can't be read doesn't keep the others from it.
func predict(cmd *cobra.Command, o *predictOptions, files []string) error {
	log, _, err := o.logs.Open(cmd.ErrOrStderr())
	switch {
	case err != nil:
		return err
	case len(files) == 0:
		return settings.Usagef("which picture? give the names of JPEG, PNG, GIF or WebP files, or - for standard input")
	case o.top < 1:
		return settings.Usagef("%s %d: at least 1 is needed", settings.Origin(cmd, "top"), o.top)
	}
	net, values, step, err := o.network(cmd, log)
	if err != nil {
		return err
	}
	d, err := o.device.Device()
	if err != nil {
		return err
	}
	defer d.Close()
	c, err := newClassifier(net, values, d, min(len(files), mostPictures))
	if err != nil {
		return err
	}
	defer c.close()

	var failed []error
	for len(files) > 0 {
		var batch []verdict
		for len(files) > 0 && len(batch) < c.images {
			pixels, err := readPicture(cmd.Context(), cmd.InOrStdin(), files[0], net.ImageSide)
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", files[0], err))
			} else {
				if o.channels == channelsBGR {
					reverseChannels(pixels)
				}
				batch = append(batch, verdict{file: files[0], pixels: pixels})
			}
			files = files[1:]
		}
		if err := c.classify(batch); err != nil {
			return err
		}
		for _, v := range batch {
			if err := o.print(cmd.OutOrStdout(), net, step, v); err != nil {
				return err
			}
		}
	}
	if net.About.Synthetic && !o.json {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), "(the network was trained on the built-in synthetic images, not on CIFAR-10)"); err != nil {
			return err
		}
	}
	return settings.Usage(errors.Join(failed...))
}

// network is the topology, and the parameters with the step they are of, where that is known.
func (o *predictOptions) network(cmd *cobra.Command, log *slog.Logger) (net *topology.Network, values []float32, step *uint64, err error) {
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	switch {
	case given("parameters") && (given("checkpoint") || given("which")):
		return nil, nil, nil, settings.Usagef("%s and %s exclude each other: both name the parameters",
			settings.Origin(cmd, "parameters"), settings.Origin(cmd, "checkpoint"))
	case isSafetensors(o.parameters):
		return o.exported()
	}
	var state *checkpoint.State
	path := o.parameters
	if path != "" {
		if state, err = checkpoint.Read(path); err != nil {
			return nil, nil, nil, settings.Usage(err)
		}
	} else if state, path, err = o.checkpoint.read(cmd, log); err != nil {
		return nil, nil, nil, err
	}
	about, err := topologyBeside(path)
	if o.topology != "" {
		about, err = topology.Read(o.topology)
	}
	if err != nil {
		return nil, nil, nil, settings.Usage(err)
	}
	net, err = networkOf(about, state, path)
	return net, state.Parameters, &state.Step, err
}

// exported reads what muster export wrote: it holds its topology.
func (o *predictOptions) exported() (net *topology.Network, values []float32, step *uint64, err error) {
	file, err := safetensors.Read(o.parameters)
	if err != nil {
		return nil, nil, nil, settings.Usage(err)
	}
	about, err := topology.Parse([]byte(file.Metadata[metadataTopology]))
	switch {
	case o.topology != "":
		about, err = topology.Read(o.topology)
	case file.Metadata[metadataTopology] == "":
		return nil, nil, nil, settings.Usagef("%s holds no topology: --topology names one", o.parameters)
	}
	if err != nil {
		return nil, nil, nil, settings.Usage(err)
	}
	if net, err = topology.Build(about); err != nil {
		return nil, nil, nil, settings.Usage(err)
	}
	if values, err = file.Vector(net.Layout); err != nil {
		return nil, nil, nil, settings.Usagef("%s: %w", o.parameters, err)
	}
	if n, err := strconv.ParseUint(file.Metadata["step"], 10, 64); err == nil {
		step = &n
	}
	return net, values, step, nil
}

// readPicture returns the pixels (3, side, side) of a file's central square.
func readPicture(ctx context.Context, stdin io.Reader, name string, side int) ([]byte, error) {
	in := stdin
	if name == "-" {
		data, err := readAll(ctx, stdin)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(data)
	} else {
		file, err := os.Open(name)
		if err != nil {
			return nil, errors.Unwrap(err) // the caller names the file
		}
		defer file.Close()
		in = file
	}
	img, err := picture.Decode(in)
	if err != nil {
		return nil, err
	}
	return picture.Square(img, side), nil
}

// readAll reads what a picture may have of standard input, until ctx ends: the
// read that is under way then ends with the input or the process.
func readAll(ctx context.Context, stdin io.Reader) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(stdin, picture.MaxBytes+1))
		read <- result{data, err}
	}()
	select {
	case r := <-read:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reverseChannels makes red, green, blue of pixels (3, N) blue, green, red.
func reverseChannels(pixels []byte) {
	n := len(pixels) / 3
	for i := range n {
		pixels[i], pixels[2*n+i] = pixels[2*n+i], pixels[i]
	}
}
