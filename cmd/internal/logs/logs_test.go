package logs

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/settings"
)

func TestLogIsWhatTheFlagsSay(t *testing.T) {
	for _, tc := range []struct {
		args string
		want string // beginning of the one line
	}{
		{"", "time="},
		{"--log-format text", "time="},
		{"--log-format json", `{"time":`},
		{"--log-level warn", ""},
		{"--log-level debug", "time="},
	} {
		var o Options
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		o.Define(fs)
		if err := fs.Parse(strings.Fields(tc.args)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		log, console, err := o.Open(&out)
		if err != nil || console == nil {
			t.Fatalf("%q: %v", tc.args, err)
		}
		log.Info("hello")
		if got := out.String(); !strings.HasPrefix(got, tc.want) || tc.want == "" && got != "" || strings.Count(got, "\n") > 1 {
			t.Errorf("%q logs %q, want %q", tc.args, got, tc.want)
		}
	}
}

func TestUnknownLevelIsWrongUse(t *testing.T) {
	for _, o := range []Options{{Format: "text", Level: "loud"}, {Format: "xml", Level: "info"}} {
		if _, _, err := o.Open(&bytes.Buffer{}); settings.Status(err) != settings.StatusUsage {
			t.Errorf("%+v: %v, want wrong use", o, err)
		}
	}
	var o Options
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.Define(fs)
	if err := fs.Parse([]string{"--log-level", "loud"}); err == nil || !strings.Contains(err.Error(), "debug, info, warn, error") {
		t.Errorf("--log-level loud: %v, want the allowed words", err)
	}
}
