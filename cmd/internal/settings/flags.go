package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Annotations of a flag.
const (
	groupKey  = "muster_group"  // the subject it is listed under
	originKey = "muster_origin" // where its value came from, if not the command line
	noEnvKey  = "muster_no_env" // present: not set by the environment
)

// Group defines flags under one subject of the help text:
//
//	settings.Group(cmd.Flags(), "Job", func(fs *pflag.FlagSet) {
//		fs.IntVar(&c.Batch, "batch", 128, "`images` in a step, over all shards")
//	})
//
// Help lists the subjects in the order of their first flag and the flags of one
// in the order of their definition. Units belong in back quotes, as here.
func Group(fs *pflag.FlagSet, subject string, define func(fs *pflag.FlagSet)) {
	group := pflag.NewFlagSet("", pflag.ContinueOnError)
	group.SortFlags = false
	define(group)
	group.VisitAll(func(f *pflag.Flag) { annotate(f, groupKey, subject) })
	fs.AddFlagSet(group)
}

// NoEnv exempts flags from the environment: their variables mean something else.
func NoEnv(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		f := fs.Lookup(name)
		if f == nil {
			panic("settings: no flag " + name)
		}
		annotate(f, noEnvKey, "true")
	}
}

// Origin says how the value of a flag was given, for errors found after
// parsing: "--batch", "MUSTER_BATCH" or "job.yaml: batch".
func Origin(cmd *cobra.Command, name string) string {
	if f := cmd.Flags().Lookup(name); f != nil {
		if origin := f.Annotations[originKey]; len(origin) == 1 {
			return origin[0]
		}
	}
	return "--" + name
}

func annotate(f *pflag.Flag, key, value string) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[key] = []string{value}
}

// Enum defines a flag that takes one of the allowed words; value is its
// default. The words are added to the help text.
func Enum(fs *pflag.FlagSet, p *string, name, value string, allowed []string, usage string) {
	*p = value
	fs.Var(&enum{p, allowed}, name, usage+": "+strings.Join(allowed, ", "))
}

// enum is the value of an Enum flag.
type enum struct {
	p       *string
	allowed []string
}

func (e *enum) String() string {
	if e.p == nil { // pflag asks a zero value what it prints
		return ""
	}
	return *e.p
}

func (e *enum) Type() string { return "word" }

func (e *enum) Set(s string) error {
	if !slices.Contains(e.allowed, s) {
		return fmt.Errorf("allowed are %s", strings.Join(e.allowed, ", "))
	}
	*e.p = s
	return nil
}
