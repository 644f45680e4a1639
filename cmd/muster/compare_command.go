package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/dataset"
)

// command repeats the run alone: the same parameters come of it.
func (c *contender) command(o *compareOptions, set *dataset.Set) string {
	j := c.serving.Job
	args := []string{"muster", "train", "--network", j.Network}
	add := func(name string, value any) { args = append(args, "--"+name, fmt.Sprint(value)) }
	if j.InputSize != 0 {
		add("input-size", j.InputSize)
	}
	add("epochs", j.Epochs)
	add("batch", j.Batch)
	add("shards", j.Shards)
	if j.LimitBatches != 0 {
		add("limit-batches", j.LimitBatches)
	}
	add("seed", j.Seed)
	if o.work.Threads != 0 {
		add("threads", o.work.Threads)
	}
	if o.workers != 1 {
		add("workers", o.workers)
	}
	switch {
	case set.Synthetic:
		add("data", "synthetic")
	case o.work.Data.Source != "auto":
		add("data", o.work.Data.Source)
	}
	add("job", j.Name)
	return typed(args)
}

// effective is the command that says by flags alone what this one was told by
// flags, environment and file together.
func effective(cmd *cobra.Command) string {
	args := strings.Fields(cmd.CommandPath())
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch f.Name {
		case "config", "json", "log-format", "log-level", "resume": // they change nothing of what is compared
			return
		}
		if !f.Changed {
			return
		}
		value := f.Value.String()
		switch v := f.Value.(type) {
		case pflag.SliceValue:
			value = strings.Join(v.GetSlice(), ",")
		default:
			if v.Type() == "stringToInt" {
				value = strings.Trim(value, "[]")
			}
		}
		args = append(args, "--"+f.Name, value)
	})
	return typed(args)
}

// typed is a command line as one would type it.
func typed(args []string) string {
	var words []string
	for i, a := range args {
		if i == 0 {
			a = filepath.Base(a)
		}
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$&|;<>()*?#~`[]{}!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}
