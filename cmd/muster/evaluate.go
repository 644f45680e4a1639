package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/cmd/internal/work"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

func evaluateCommand() *cobra.Command {
	var o struct {
		work  work.Options
		logs  logs.Options
		path  string
		which string
		json  bool
	}
	cmd := &cobra.Command{
		Use:     "evaluate",
		Short:   "Loss and accuracy of a checkpoint over the test set",
		Example: "  muster evaluate --checkpoint muster-default --which best",
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, console, err := o.logs.Open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if o.path == "" {
				return settings.Usagef("--checkpoint: a checkpoint's file or directory is needed")
			}
			path, err := checkpoint.Find(o.path, o.which, log)
			if err != nil {
				return settings.Usage(err)
			}
			state, err := checkpoint.Read(path)
			if err != nil {
				return settings.Usage(err)
			}
			set, err := o.work.Data.Open(cmd.Context(), console, log)
			if err != nil {
				return err
			}
			d, err := o.work.Device()
			if err != nil {
				return err
			}
			defer d.Close()
			t, err := evaluate(cmd.Context(), state, set, d)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			n := float64(t.Images)
			if o.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{
					"checkpoint": path, "network": state.Network, "step": state.Step, "synthetic": set.Synthetic,
					"loss": checkpoint.Float(t.Loss / n), "top1": float64(t.Top1) / n, "top5": float64(t.Top5) / n, "samples": t.Images,
				})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s, step %d, %s: loss %.4f, top-1 %.2f %%, top-5 %.2f %% of %d images\n",
				state.Network, state.Step, set.Name, t.Loss/n, 100*float64(t.Top1)/n, 100*float64(t.Top5)/n, t.Images)
			return err
		},
	}
	settings.Group(cmd.Flags(), "Checkpoint", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.path, "checkpoint", "", "`path` of a checkpoint or of a directory of them")
		settings.Enum(fs, &o.which, "which", checkpoint.WhichNewest, []string{checkpoint.WhichNewest, checkpoint.WhichBest}, "the one to take from a directory")
	})
	o.work.Define(cmd.Flags())
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print one line of JSON")
	return cmd
}

// evaluate runs the test set through a checkpoint's network, slice by slice as
// training does, so that the figures are the same.
func evaluate(ctx context.Context, state *checkpoint.State, set *dataset.Set, d device.Device) (device.Tally, error) {
	var total device.Tally
	var job musterv1.JobSpec
	if err := protojson.Unmarshal(state.Job, &job); err != nil {
		return total, fmt.Errorf("job specification: %w", err)
	}
	net, err := model.New(job.Network, model.Options{
		Activation: job.Activation, InputSize: int(job.InputSize), LRNOrder: job.LrnOrder, Classes: int(job.Classes),
	})
	if err != nil {
		return total, err
	}
	if err := checkpoint.CheckLayout(state.Layout, net.Layout); err != nil {
		return total, settings.Usage(err)
	}
	if len(set.Classes) > net.Classes {
		return total, settings.Usagef("the data have %d classes, the network tells %d apart", len(set.Classes), net.Classes)
	}
	plan, err := net.Plan(d, device.Options{Images: worker.EvaluateImages})
	if err != nil {
		return total, err
	}
	defer plan.Close()
	copy(plan.Parameters(), state.Parameters)
	plan.Loaded(params.Range{First: 0, End: net.Layout.Size()})

	shards := int(job.Shards)
	cut := dataset.Cut{Images: set.Train.Len(), Shards: shards, Batch: int(job.Batch)}
	if err := cut.Validate(); err != nil {
		return total, err
	}
	p := net.Preprocess
	loader := dataset.NewLoader(set, cut, dataset.Transform{Side: p.Side, Mean: p.Mean, Std: p.Std}, job.Seed)
	var scratch dataset.Batch
	for shard := range shards {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		t, err := worker.Evaluate(plan, loader, &scratch, shard, shards)
		if err != nil {
			return total, err
		}
		total.Images += t.Images
		total.Loss += t.Loss
		total.Top1 += t.Top1
		total.Top5 += t.Top5
	}
	return total, nil
}
