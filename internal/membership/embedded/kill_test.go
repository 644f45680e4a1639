package embedded

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/membership"
)

// childDir is set for the process that TestWhatWasAcknowledgedSurvivesAKill
// starts: the directory of its server.
const childDir = "MUSTER_EMBEDDED_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, writeForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForever registers a worker, then writes number after number and prints
// each when etcd has acknowledged it. It returns only with an error.
func writeForever(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := Start(ctx, Config{Dir: dir}, quiet)
	if err != nil {
		return err
	}
	r := membership.NewRegistry(s.Client(), "job", time.Second, quiet)
	if _, err := r.Register(ctx, membership.Member{ID: "dead", Pinned: -1}); err != nil {
		return err
	}
	if err := r.SaveAssignment(ctx, membership.Assignment{Number: 1, Owner: []string{"dead"}}, 0); err != nil {
		return err
	}
	for i := 1; ; i++ {
		if _, err := s.Client().Put(ctx, "number", strconv.Itoa(i)); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	child := exec.CommandContext(deadline(t), os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
			t.Errorf("the child printed %q", lines.Text())
		}
		if acknowledged == 25 {
			// In the midst of writing; what it still printed is read to the end.
			child.Process.Kill()
		}
	}
	child.Wait()
	if acknowledged < 25 {
		t.Fatalf("the child ended after %d writes", acknowledged)
	}

	s := run(t, Config{Dir: dir})
	if got, err := strconv.Atoi(get(t, s.Client(), "number")); err != nil || got < acknowledged {
		t.Errorf("number = %d, %v after the kill; %d was acknowledged", got, err, acknowledged)
	}
	r := membership.NewRegistry(s.Client(), "job", time.Second, quiet)
	if a, err := r.LoadAssignment(deadline(t)); a.Number != 1 || err != nil {
		t.Errorf("assignment after the kill: %+v, %v", a, err)
	}
	gone(t, r)
	// The next write goes on where the killed process was.
	if err := r.SaveAssignment(deadline(t), membership.Assignment{Number: 2, Owner: []string{""}}, 0); err != nil {
		t.Error(err)
	}
}
