// Command muster trains on one machine, and holds the tools around a job: see
// its --help.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster-train/muster/cmd/internal/serve"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/cmd/internal/work"
	"github.com/muster-train/muster/internal/kernel"
)

func main() { os.Exit(settings.Main(context.Background(), root())) }

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "muster",
		Short: "Train image networks, data-parallel, with the same bits whatever the cluster does",
		Long: `Muster trains AlexNet and its kin on CIFAR-10, data-parallel: workers compute
gradients of shards, a parameter server applies them. The same job gives the
same parameters, to the last bit, for any number of workers.`,
		Example: `  muster train                             # alexnet, here, now
  muster train --network lenet5 --epochs 5 --workers 2
  muster evaluate
  muster predict dog.png`,
	}
	settings.SetVersion(cmd, kernel.Name())
	cmd.AddCommand(trainCommand(), compareCommand(), evaluateCommand(), predictCommand(), exportCommand(), networksCommand(), statusCommand(), dataCommand(), benchCommand(), serve.Command(), work.Command())
	return cmd
}
