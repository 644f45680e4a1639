// Command worker is one half of Muster: see its --help.
package main

import (
	"context"
	"os"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/cmd/internal/work"
	"github.com/muster-train/muster/internal/kernel"
)

func main() {
	cmd := work.Command()
	settings.SetVersion(cmd, kernel.Name())
	os.Exit(settings.Main(context.Background(), cmd))
}
