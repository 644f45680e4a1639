package main

import "github.com/spf13/cobra"

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine, with what to compare it with in the same run",
	}
	cmd.AddCommand(new(benchStepOptions).command(), new(benchExchangeOptions).command(), new(benchScaleOptions).command(), new(benchFaultsOptions).command(), benchEtcdCommand())
	return cmd
}
