package compare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConditionsComeBackAndAreCompared(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "lenet5")
	if c, err := ReadConditions(dir); c != nil || err != nil {
		t.Errorf("of a training that has not begun: %v, %v", c, err)
	}
	want := Conditions{
		Settings: Settings{Epochs: 3, Batch: 128, Shards: 8, Seed: 1, Workers: 1, Threads: 2, Device: "cpu/2 avx2"},
		Machine:  Machine{CPU: "A CPU", CPUs: 2, Commit: "abc"},
		Data:     Data{Name: "cifar10", Fingerprint: "0123456789abcdef"},
	}
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadConditions(dir)
	if err != nil || *got != want {
		t.Fatalf("read %+v, %v; want %+v", got, err, want)
	}
	for what, change := range map[string]func(*Conditions){
		"":                                  func(c *Conditions) { c.Settings.Epochs, c.Machine.Commit = 10, "def" },
		"batch is 64":                       func(c *Conditions) { c.Settings.Batch = 64 },
		"shards is 4":                       func(c *Conditions) { c.Settings.Shards = 4 },
		"limit-batches is 5":                func(c *Conditions) { c.Settings.Limit = 5 },
		"seed is 9":                         func(c *Conditions) { c.Settings.Seed = 9 },
		"workers is 2":                      func(c *Conditions) { c.Settings.Workers = 2 },
		"threads is 1 here and was 2 there": func(c *Conditions) { c.Settings.Threads = 1 },
		"device is gpu":                     func(c *Conditions) { c.Settings.Device = "gpu" },
		"data is synthetic":                 func(c *Conditions) { c.Data.Name = "synthetic" },
		"fingerprint is f00d":               func(c *Conditions) { c.Data.Fingerprint = "f00d" },
		"CPU is another":                    func(c *Conditions) { c.Machine.CPU = "another" },
		"number of CPUs is 64":              func(c *Conditions) { c.Machine.CPUs = 64 },
	} {
		now := want
		change(&now)
		if d := now.Difference(*got); !strings.Contains(d, what) || (d == "") != (what == "") {
			t.Errorf("%q, want %q", d, what)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, conditionsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConditions(dir); err == nil {
		t.Error("no error of a damaged file")
	}
}
