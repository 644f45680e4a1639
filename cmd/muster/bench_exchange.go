package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/bench"
	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
)

type benchExchangeOptions struct {
	network    string
	workers    []int
	transports []string
	encodings  []string
	parts      []int
	shards     int
	turns      int
	json       bool
	logs       logs.Options
}

// all stands for every transport, and for every encoding.
const all = "all"

// command is the command whose flags set o.
func (o *benchExchangeOptions) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exchange",
		Short: "Measure the exchange: gradients up, update, parameters down, beside raw copies of the same bytes",
		Long: `Exchange measures steps of workers that compute nothing: each sends the gradients
of its shards, the server sums them and updates all parameters, and each receives
them. Everything runs in one process. By turns with each step, as many raw
connections as there are workers carry the bytes of the parameters there and then
back: over loopback TCP, over a unix socket, and as two copies in memory.
All figures are medians; ratios are the step's time to the raw copy's.`,
		Example: `  muster bench exchange
  muster bench exchange --workers 1 --transport tcp --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	settings.Group(cmd.Flags(), "Exchange", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.network, "network", "alexnet", "`network` whose parameters are exchanged: "+strings.Join(model.Names(), ", "))
		fs.IntSliceVar(&o.workers, "workers", []int{1, 2, 4}, "numbers of `workers` to measure")
		fs.StringSliceVar(&o.transports, "transport", []string{all}, "`transports` to measure: all, or of "+strings.Join(bench.Transports, ", ")+" (local: worker and server share the process; memory: they share memory)")
		fs.StringSliceVar(&o.encodings, "encoding", []string{all}, "`encodings` to measure: all, or of "+strings.Join(wire.Encodings, ", ")+" (local and memory: gradients are in place, as bfloat16s with bf16, as float32 with int8)")
		fs.IntSliceVar(&o.parts, "parts", []int{1}, "numbers of `servers` that share the parameters to measure; more than 1 over unix and tcp alone")
		fs.IntVar(&o.shards, "shards", 8, "logical `shards`, at least as many as workers")
	})
	settings.Group(cmd.Flags(), "Measurement", func(fs *pflag.FlagSet) {
		fs.IntVar(&o.turns, "turns", 9, "`turns`: steps measured of each, by turns with the copies")
	})
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print a line of JSON for each transport, encoding and number of workers")
	return cmd
}

func (o *benchExchangeOptions) run(cmd *cobra.Command) error {
	log, _, err := o.logs.Open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	network, err := model.New(o.network, model.Options{})
	if err != nil {
		return settings.Usage(err)
	}
	if err := o.check(cmd, network); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var measured []*bench.Exchanges
	for _, workers := range o.workers {
		// One encoding after the other: a server for each transport takes memory enough.
		for _, name := range o.encodings {
			encoding, err := wire.ParseEncoding(name)
			if err != nil {
				return err
			}
			for _, parts := range o.parts {
				log.Info("measuring", "network", o.network, "workers", workers, "parts", parts, "encoding", name, "transports", strings.Join(o.transports, ","))
				of, err := os.MkdirTemp(dir, "")
				if err != nil {
					return err
				}
				x, err := bench.MeasureExchange(cmd.Context(), bench.ExchangeConfig{
					Network: network, Shards: o.shards, Workers: workers, Parts: parts, Encoding: encoding, Transports: o.transports, Turns: o.turns, Dir: of,
				})
				if err != nil {
					return err
				}
				if o.json {
					if err := printExchangeJSON(cmd.OutOrStdout(), x); err != nil {
						return err
					}
					continue
				}
				measured = append(measured, x)
			}
		}
	}
	if o.json {
		return nil
	}
	return printExchange(cmd.OutOrStdout(), measured)
}

// check refuses what can't be measured, and puts the names that all stands for in its place.
func (o *benchExchangeOptions) check(cmd *cobra.Command, network *model.Network) error {
	origin := func(name string) string { return settings.Origin(cmd, name) }
	if o.shards < 1 {
		return settings.Usagef("%s %d: at least 1 shard is needed", origin("shards"), o.shards)
	}
	if o.turns < 1 || o.turns > bench.MaxTurns {
		return settings.Usagef("%s %d: 1 to %d are allowed", origin("turns"), o.turns, bench.MaxTurns)
	}
	if len(o.workers) == 0 {
		return settings.Usagef("%s: at least one number of workers is needed", origin("workers"))
	}
	if len(o.parts) == 0 {
		return settings.Usagef("%s: at least one number of servers is needed", origin("parts"))
	}
	for _, n := range o.parts {
		if chunks := network.Layout.Chunks(); n < 1 || n > chunks {
			return settings.Usagef("%s %d: 1 to %d are possible, the chunks that %s has", origin("parts"), n, chunks, o.network)
		}
	}
	for _, n := range o.workers {
		if n < 1 || n > o.shards {
			return settings.Usagef("%s %d: 1 to %d are allowed, the shards there are", origin("workers"), n, o.shards)
		}
	}
	for _, list := range []struct {
		flag  string
		names *[]string
		known []string
	}{{"transport", &o.transports, bench.TransportsHere()}, {"encoding", &o.encodings, wire.Encodings}} {
		names := *list.names
		switch {
		case len(names) == 1 && names[0] == all:
			*list.names = list.known
		case len(names) == 0:
			return settings.Usagef("%s: at least one is needed, of %s", origin(list.flag), strings.Join(list.known, ", "))
		case slices.Contains(names, all):
			return settings.Usagef("%s %s: all stands alone", origin(list.flag), strings.Join(names, ","))
		}
		for _, name := range *list.names {
			if !slices.Contains(list.known, name) {
				return settings.Usagef("%s %s: all, or of %s", origin(list.flag), name, strings.Join(list.known, ", "))
			}
		}
	}
	if slices.Max(o.parts) > 1 && !slices.Contains(o.transports, "unix") && !slices.Contains(o.transports, "tcp") {
		return settings.Usagef("%s %d with transport %s: several servers are reached over unix and tcp alone", origin("parts"), slices.Max(o.parts), strings.Join(o.transports, ","))
	}
	return nil
}

// printExchange prints a row for each transport, encoding and number of workers.
func printExchange(out io.Writer, measured []*bench.Exchanges) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "workers\tparts\ttransport\tencoding\tms/step\tof raw TCP\tof raw unix\tof memcpy\tMB garbage\tCPU s\tMB up\tMB down\t")
	for _, x := range measured {
		for _, s := range x.Steps {
			fmt.Fprintf(w, "%d\t%d\t%s\t%v\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.3f\t%.1f\t%.1f\t\n", x.Config.Workers, x.Config.Parts, s.Transport, x.Config.Encoding, milliseconds(s.Time),
				s.Time.Seconds()/x.TCP.Seconds(), s.Time.Seconds()/x.Unix.Seconds(), s.Time.Seconds()/x.Memcpy.Seconds(), float64(s.Garbage)/1e6, s.CPU.Seconds(),
				float64(s.Up)/1e6, float64(s.Down)/1e6)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	x := measured[0]
	fmt.Fprintf(out, "\n%s, %d shards; MB of gradients up and of parameters down for one worker; update included; medians of %d turns.\n",
		x.Config.Network.Name, x.Config.Shards, x.Config.Turns)
	for _, x := range measured {
		fmt.Fprintf(out, "Raw, %d connections, beside %v and %d servers, %.1f MB there and back: TCP %.1f ms, unix %.1f ms; copied in memory %.1f ms.\n",
			x.Config.Workers, x.Config.Encoding, x.Config.Parts, float64(x.Bytes)/1e6, milliseconds(x.TCP), milliseconds(x.Unix), milliseconds(x.Memcpy))
	}
	return nil
}

// exchangeLine is a line of JSON. The first seven fields are what other programs
// compare; more may be added after them.
type exchangeLine struct {
	Workers    int     `json:"workers"`
	Transport  string  `json:"transport"`
	Encoding   string  `json:"encoding"`
	Parts      int     `json:"parts"`
	RatioTCP   float64 `json:"ratio_tcp"`
	Garbage    uint64  `json:"garbage_bytes_per_step"`
	CPUSeconds float64 `json:"cpu_seconds_per_step"`

	RatioUnix    float64 `json:"ratio_unix"`
	RatioMemcpy  float64 `json:"ratio_memcpy"`
	Milliseconds float64 `json:"milliseconds"`
	TCPMS        float64 `json:"raw_tcp_milliseconds"`
	UnixMS       float64 `json:"raw_unix_milliseconds"`
	MemcpyMS     float64 `json:"memcpy_milliseconds"`
	UpBytes      int     `json:"up_bytes"`
	DownBytes    int     `json:"down_bytes"`
	Network      string  `json:"network"`
	Shards       int     `json:"shards"`
	Turns        int     `json:"turns"`
}

func printExchangeJSON(out io.Writer, x *bench.Exchanges) error {
	for _, s := range x.Steps {
		line := exchangeLine{
			Workers: x.Config.Workers, Transport: s.Transport, Encoding: x.Config.Encoding.String(), Parts: x.Config.Parts,
			RatioTCP: s.Time.Seconds() / x.TCP.Seconds(), Garbage: s.Garbage, CPUSeconds: s.CPU.Seconds(),
			RatioUnix: s.Time.Seconds() / x.Unix.Seconds(), RatioMemcpy: s.Time.Seconds() / x.Memcpy.Seconds(),
			Milliseconds: milliseconds(s.Time), TCPMS: milliseconds(x.TCP), UnixMS: milliseconds(x.Unix), MemcpyMS: milliseconds(x.Memcpy),
			UpBytes: s.Up, DownBytes: s.Down, Network: x.Config.Network.Name, Shards: x.Config.Shards, Turns: x.Config.Turns,
		}
		if err := json.NewEncoder(out).Encode(line); err != nil {
			return err
		}
	}
	return nil
}
