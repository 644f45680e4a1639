package main

import (
	"github.com/spf13/cobra"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/membership/embedded"
)

// benchEtcdCommand runs an etcd as a process that bench faults can destroy.
func benchEtcdCommand() *cobra.Command {
	var cfg embedded.Config
	var log logs.Options
	cmd := &cobra.Command{
		Use:    "etcd",
		Short:  "Run an etcd until stopped, for bench faults",
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, _, err := log.Open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			server, err := embedded.Start(cmd.Context(), cfg, log)
			if err != nil {
				return err
			}
			defer server.Close()
			<-cmd.Context().Done()
			return &settings.Stopped{Message: "stopped"}
		},
	}
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "`directory` of its files")
	cmd.Flags().StringVar(&cfg.ListenClient, "listen", "", "`address` to listen on: unix:///path or IP:port")
	log.Define(cmd.Flags())
	return cmd
}
