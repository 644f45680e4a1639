package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/cmd/internal/work"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/chart"
	"github.com/muster-train/muster/internal/telemetry"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

type evaluateOptions struct {
	checkpoint checkpointOptions
	work       work.Options
	logs       logs.Options
	plot       string
	json       bool
}

func evaluateCommand() *cobra.Command {
	var o evaluateOptions
	cmd := &cobra.Command{
		Use:   "evaluate",
		Short: "Loss and accuracy of a checkpoint over the test set, by class and by confusion",
		Example: `  muster evaluate --which best
  muster evaluate --checkpoint runs/lrn --plot confusion.png`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, console, err := o.logs.Open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if o.plot != "" {
				if err := chart.Check(o.plot); err != nil {
					return settings.Usagef("%s %w", settings.Origin(cmd, "plot"), err)
				}
			}
			e, err := o.evaluate(cmd, console, log)
			if err != nil {
				return err
			}
			if o.plot != "" {
				if err := chart.Confusion(o.plot, e.matrix()); err != nil {
					return err
				}
				log.Info("confusion matrix drawn", "file", o.plot)
			}
			if o.json {
				return e.printJSON(cmd.OutOrStdout())
			}
			return e.print(cmd.OutOrStdout())
		},
	}
	o.checkpoint.define(cmd.Flags())
	settings.Group(cmd.Flags(), "Evaluation", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.plot, "plot", "", "draw the confusion matrix into this `file`, .png or .svg")
	})
	o.work.Define(cmd.Flags())
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print one line of JSON")
	return cmd
}

func (o *evaluateOptions) evaluate(cmd *cobra.Command, console *telemetry.Console, log *slog.Logger) (*evaluation, error) {
	ctx := cmd.Context()
	state, path, err := o.checkpoint.read(cmd, log)
	if err != nil {
		return nil, err
	}
	set, err := o.work.Data.Open(ctx, console, log)
	if err != nil {
		return nil, err
	}
	trained := state.Data
	switch {
	case len(trained.ClassNames) > 0 && !slices.Equal(trained.ClassNames, set.Classes), trained.Synthetic != set.Synthetic:
		return nil, settings.Usagef("%s was trained on other images: %s; here are %s: --data names those to evaluate on",
			path, describeImages(trained.Synthetic, trained.ClassNames), describeImages(set.Synthetic, set.Classes))
	case trained.Fingerprint != set.Fingerprint():
		log.Warn("these are not the images that the network was trained with: its figures there can't be compared with those here", "data", set.Name)
	}
	d, err := o.work.Device()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	e := &evaluation{path: path, state: state, data: set.Name, synthetic: set.Synthetic}
	if err := e.run(ctx, set, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// describeImages says which images there are, for a message.
func describeImages(synthetic bool, classes []string) string {
	kind := "images"
	if synthetic {
		kind = "the built-in synthetic images"
	}
	if len(classes) > 0 {
		kind += " of " + strings.Join(classes, ", ")
	}
	return kind
}

// run takes the test set through the checkpoint's network, slice by slice as
// training does, so that the figures are the same.
func (e *evaluation) run(ctx context.Context, set *dataset.Set, d device.Device) error {
	var job musterv1.JobSpec
	if err := protojson.Unmarshal(e.state.Job, &job); err != nil {
		return fmt.Errorf("job specification: %w", err)
	}
	net, err := model.New(job.Network, model.Options{
		Activation: job.Activation, InputSize: int(job.InputSize), LRNOrder: job.LrnOrder, Classes: int(job.Classes),
	})
	if err != nil {
		return err
	}
	if err := checkpoint.CheckLayout(e.state.Layout, net.Layout); err != nil {
		return settings.Usage(err)
	}
	if len(set.Classes) > net.Classes {
		return settings.Usagef("the data have %d classes, the network tells %d apart", len(set.Classes), net.Classes)
	}
	plan, err := net.Plan(d, device.Options{Images: worker.EvaluateImages})
	if err != nil {
		return err
	}
	defer plan.Close()
	copy(plan.Parameters(), e.state.Parameters)
	plan.Loaded(params.Range{First: 0, End: net.Layout.Size()})

	shards := int(job.Shards)
	cut := dataset.Cut{Images: set.Train.Len(), Shards: shards, Batch: int(job.Batch)}
	if err := cut.Validate(); err != nil {
		return err
	}
	p := net.Preprocess
	loader := dataset.NewLoader(set, cut, dataset.Transform{Side: p.Side, Mean: p.Mean, Std: p.Std}, job.Seed)
	e.begin(set.Classes, net.Classes)
	var scratch dataset.Batch
	for shard := range shards {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := worker.Evaluate(plan, loader, &scratch, shard, shards, e.count)
		if err != nil {
			return err
		}
		e.total.Images += t.Images
		e.total.Loss += t.Loss
		e.total.Top1 += t.Top1
		e.total.Top5 += t.Top5
	}
	return nil
}
