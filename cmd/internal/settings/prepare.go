package settings

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// prepare gives the tree of commands its common behaviour. started is set when
// a command's own work begins.
func prepare(root *cobra.Command, started *bool) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.DisableSuggestions = true // its suggestions span lines
	root.SetUsageFunc(usage)
	root.SetFlagErrorFunc(flagError)
	if root.PersistentFlags().Lookup(configFlag) == nil {
		root.PersistentFlags().String(configFlag, "", "YAML `file` with values of flags")
	}
	walk(root, func(c *cobra.Command) {
		c.Flags().SortFlags = false
		c.PersistentFlags().SortFlags = false
		c.DisableFlagsInUseLine = strings.Contains(c.Use, "[flags]")
		completeEnums(c)
		if c.Runnable() {
			wrap(c, started)
		} else if c.HasSubCommands() {
			refuseUnknown(c)
		}
	})
}

// completeEnums lets shells complete the words of Enum flags.
func completeEnums(c *cobra.Command) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if e, ok := f.Value.(*enum); ok {
			// The only error is that the command has set a completion of its own.
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(e.allowed, cobra.ShellCompDirectiveNoFileComp))
		}
	})
}

// onlyGroups marks commands that do nothing but hold others.
const onlyGroups = "muster_only_groups"

// refuseUnknown makes a command that only holds others show its help, and
// refuse arguments, of which cobra itself would take any below the root.
func refuseUnknown(c *cobra.Command) {
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	c.Annotations[onlyGroups] = "true"
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		var known []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				known = append(known, sub.Name())
			}
		}
		return fmt.Errorf("unknown command %q of '%s'%s", args[0], cmd.CommandPath(), didYouMean(args[0], known, ""))
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		walk(sub, visit)
	}
}

// wrap puts load before what c does.
func wrap(c *cobra.Command, started *bool) {
	if c.Args == nil {
		c.Args = noArgs
	}
	pre, preE, work, workE := c.PreRun, c.PreRunE, c.Run, c.RunE
	c.PreRun, c.Run = nil, nil
	c.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := load(cmd); err != nil {
			return err
		}
		if preE != nil {
			return preE(cmd, args)
		}
		if pre != nil {
			pre(cmd, args)
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		*started = true
		if workE != nil {
			return workE(cmd, args)
		}
		work(cmd, args)
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
}
