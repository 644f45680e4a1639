package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/cmd/internal/work"
	"github.com/muster-train/muster/dataset"
)

func dataCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "data", Short: "Fetch, describe or verify the images"}
	cmd.AddCommand(dataFetchCommand(), dataInfoCommand(), dataVerifyCommand())
	return cmd
}

func dataFetchCommand() *cobra.Command {
	var o work.DataOptions
	var l logs.Options
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Download CIFAR-10 into the cache directory, going on where an earlier download ended",
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, console, err := l.Open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			dir := o.Cache
			if dir == "" {
				cache, err := os.UserCacheDir()
				if err != nil {
					return settings.Usagef("no cache directory; name one with --data-cache: %w", err)
				}
				dir = filepath.Join(cache, "muster")
			}
			options, done := o.OpenOptions(console, log)
			err = dataset.Fetch(cmd.Context(), dir, options)
			done()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "CIFAR-10 is in %s\n", dir)
			return err
		},
	}
	o.DefineDownload(cmd.Flags())
	l.Define(cmd.Flags())
	return cmd
}

func dataInfoCommand() *cobra.Command {
	var o work.DataOptions
	var l logs.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info",
		Short: "How many images there are, of which classes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := openData(cmd, &o, &l)
			if err != nil {
				return err
			}
			train, test := perClass(set.Train, len(set.Classes)), perClass(set.Test, len(set.Classes))
			out := cmd.OutOrStdout()
			if asJSON {
				e := json.NewEncoder(out)
				for c, name := range set.Classes {
					if err := e.Encode(map[string]any{"class": name, "train": train[c], "test": test[c], "data": set.Name, "synthetic": set.Synthetic}); err != nil {
						return err
					}
				}
				return nil
			}
			fmt.Fprintf(out, "%s: %d training and %d test images\n", set.Name, set.Train.Len(), set.Test.Len())
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(w, "class\ttrain\ttest\t")
			for c, name := range set.Classes {
				fmt.Fprintf(w, "%s\t%d\t%d\t\n", name, train[c], test[c])
			}
			return w.Flush()
		},
	}
	o.Define(cmd.Flags())
	l.Define(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print lines of JSON")
	return cmd
}

func dataVerifyCommand() *cobra.Command {
	var o work.DataOptions
	var l logs.Options
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read every record, and print the fingerprint by which workers compare their data",
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := openData(cmd, &o, &l)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d training and %d test records are whole, fingerprint sha256:%s\n",
				set.Name, set.Train.Len(), set.Test.Len(), set.Fingerprint())
			return err
		},
	}
	o.Define(cmd.Flags())
	l.Define(cmd.Flags())
	return cmd
}

func openData(cmd *cobra.Command, o *work.DataOptions, l *logs.Options) (*dataset.Set, error) {
	log, console, err := l.Open(cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	return o.Open(cmd.Context(), console, log)
}

// perClass counts the images of each class.
func perClass(images *dataset.Images, classes int) []int {
	counts := make([]int, classes)
	for _, l := range images.Labels {
		counts[l]++
	}
	return counts
}
