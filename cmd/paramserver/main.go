// Command paramserver is one half of Muster: see its --help.
package main

import (
	"context"
	"os"

	"github.com/muster-train/muster/cmd/internal/serve"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/kernel"
)

func main() {
	cmd := serve.Command()
	settings.SetVersion(cmd, kernel.Name())
	os.Exit(settings.Main(context.Background(), cmd))
}
