package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
)

// muster runs the program in this process and returns its status and output.
func muster(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	status = settings.Main(ctx, cmd)
	return status, out.String(), errs.String()
}

// prints runs the program, which must end in success, and decodes the one line
// of JSON that it prints.
func prints(t *testing.T, line any, args ...string) {
	t.Helper()
	status, stdout, stderr := muster(t.Context(), args...)
	if status != settings.StatusDone {
		t.Fatalf("muster %q ended with status %d\n%s", args, status, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), line); err != nil {
		t.Fatalf("muster %q printed %q: %v", args, stdout, err)
	}
}

// images writes a CIFAR-10 of 18 training and 150 test images, more than an
// evaluation takes at once, and returns its directory.
func images(t *testing.T, seed byte) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, n int) {
		records := make([]byte, n*dataset.RecordBytes)
		for i := range records {
			if i%dataset.RecordBytes == 0 {
				records[i] = byte(i / dataset.RecordBytes % 10)
			} else {
				records[i] = byte(i*i>>5) ^ seed
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), records, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("data_batch_1.bin", 18)
	write("test_batch.bin", 150)
	return dir
}

// folder is one whose paths are short enough for unix sockets.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "muster")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// oneLine tells whether s is one sentence for the user.
func oneLine(s string) bool { return strings.Count(s, "\n") == 1 && strings.HasPrefix(s, "muster: ") }
