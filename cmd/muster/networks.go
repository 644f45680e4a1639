package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
)

func networksCommand() *cobra.Command {
	var o struct {
		model.Options
		json bool
	}
	cmd := &cobra.Command{
		Use:   "networks [NAME]",
		Short: "All networks, or one's layers with shapes, parameters, FLOPs and memory",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if len(args) == 1 {
				net, err := model.New(args[0], o.Options)
				if err != nil {
					return settings.Usage(err)
				}
				if o.json {
					return layersJSON(out, net)
				}
				return layers(out, net)
			}
			if o.Options != (model.Options{}) {
				return settings.Usagef("--activation, --input-size, --lrn-order and --classes need the name of a network")
			}
			var all []*model.Network
			for _, name := range model.Names() {
				net, err := model.New(name, model.Options{})
				if err != nil {
					return err
				}
				all = append(all, net)
			}
			if o.json {
				return networksJSON(out, all)
			}
			return networks(out, all)
		},
	}
	settings.Group(cmd.Flags(), "Network", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.Activation, "activation", "", "`function` of hidden layers: relu, leaky-relu, softplus")
		fs.IntVar(&o.InputSize, "input-size", 0, "side of the input in `pixels` (0: the network's own)")
		fs.StringVar(&o.LRNOrder, "lrn-order", "", "`place` of normalisation in alexnet-2012: article, paper")
		fs.IntVar(&o.Classes, "classes", 0, "`outputs` (0: the network's own)")
	})
	cmd.Flags().BoolVar(&o.json, "json", false, "print lines of JSON")
	return cmd
}

// networks prints a row for each network.
func networks(out io.Writer, all []*model.Network) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "name\tparameters\tMFLOP/image\tneeded\tinput\t")
	for _, n := range all {
		t := n.Total()
		f := t.Forward.Plus(t.Backward)
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%s\t\n", n.Name, thousands(t.Parameters), mega(f.Textbook), mega(f.Needed), shape(n.Input))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "\nMFLOP of a training step: forward and backward; 'needed' leaves out taps that only ever meet padding.")
	return err
}

// layers prints a row for each layer of a network.
func layers(out io.Writer, n *model.Network) error {
	fmt.Fprintf(out, "%s: %s\ninput %s, %d classes\n\n", n.Name, n.Title, shape(n.Input), n.Classes)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "layer\tkind\tdetail\toutput\tparameters\tMFLOP\tneeded\tKiB")
	for _, r := range append(n.Summary(), n.Total()) {
		f := r.Forward.Plus(r.Backward)
		detail := r.Detail
		if r.Kind == "network" {
			r.Name, detail = "total", ""
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%.1f\n", r.Name, r.Kind, detail, shape(r.Output),
			thousands(r.Parameters), mega(f.Textbook), mega(f.Needed), float64(r.ActivationBytes)/1024)
	}
	return w.Flush()
}

func networksJSON(out io.Writer, all []*model.Network) error {
	e := json.NewEncoder(out)
	for _, n := range all {
		t := n.Total()
		f := t.Forward.Plus(t.Backward)
		if err := e.Encode(map[string]any{
			"name": n.Name, "parameters": t.Parameters, "flops": f.Textbook, "flops_needed": f.Needed, "input": dimensions(n.Input),
		}); err != nil {
			return err
		}
	}
	return nil
}

func layersJSON(out io.Writer, n *model.Network) error {
	e := json.NewEncoder(out)
	for _, r := range n.Summary() {
		f := r.Forward.Plus(r.Backward)
		if err := e.Encode(map[string]any{
			"name": r.Name, "kind": r.Kind, "detail": r.Detail, "output": dimensions(r.Output), "parameters": r.Parameters,
			"flops": f.Textbook, "flops_needed": f.Needed, "activation_bytes": r.ActivationBytes,
		}); err != nil {
			return err
		}
	}
	return nil
}

func dimensions(s device.Shape) []int { return []int{s.C, s.H, s.W} }

func shape(s device.Shape) string {
	if s.H == 1 && s.W == 1 {
		return fmt.Sprint(s.C)
	}
	return fmt.Sprintf("%dx%dx%d", s.C, s.H, s.W)
}

func mega[N int | int64 | uint64 | float64](n N) float64 { return float64(n) / 1e6 }

// thousands writes n with a comma between groups of three digits.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, groups...), ",")
}
