//go:build linux

package chaos

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain is also the program that processes run.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "act" {
		act(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

// act is what the program does: it says that it is there, then what it was told to do.
func act(what []string) {
	fmt.Println("here")
	switch what[0] {
	case "wait":
		for {
			time.Sleep(10 * time.Millisecond)
			fmt.Println("alive")
		}
	case "write":
		for {
			if err := os.WriteFile(what[1], make([]byte, 1000), 0o600); err != nil {
				fmt.Println("refused:", err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	case "panic":
		panic("on purpose")
	case "usage":
		os.Exit(2)
	}
}

func program(t *testing.T, what ...string) *process {
	t.Helper()
	p := startProcess("p", slog.New(slog.DiscardHandler), append([]string{os.Args[0], "act"}, what...)...)
	t.Cleanup(p.close)
	return p
}

// until waits until something is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come true within %v", what, limit)
		}
	}
}

func (p *process) lives(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("life %d", n), func() bool { life, running := p.alive(); return life >= n && running })
	until(t, "its first line", func() bool { return strings.Count(p.tail.String(), "here") >= n })
}

func TestAProcessIsStartedAgain(t *testing.T) {
	p := program(t, "wait")
	p.lives(t, 1)
	if !p.kill() {
		t.Fatal("it could not be killed")
	}
	p.lives(t, 2)
	p.terminate()
	p.lives(t, 3)
	if why := p.fault.Load(); why != nil {
		t.Errorf("being killed counts as its defect: %s", *why)
	}
	p.retire()
	p.kill()
	select {
	case <-p.ended:
	case <-time.After(limit):
		t.Error("it is started again though it was retired")
	}
}

func TestAProcessThatIsHeldStaysAway(t *testing.T) {
	p := program(t, "wait")
	p.lives(t, 1)
	first, second := p.hold(), p.hold()
	p.kill()
	until(t, "its end", func() bool { _, running := p.alive(); return !running })
	first()
	time.Sleep(2 * restartPause)
	if _, running := p.alive(); running {
		t.Error("it was started again while it is held")
	}
	second()
	p.lives(t, 2)
}

func TestAHaltedProcessStandsStillUntilItGoesOn(t *testing.T) {
	p := program(t, "wait")
	p.lives(t, 1)
	said := func() int { return strings.Count(p.tail.String(), "alive") }
	first, second := p.halt(), p.halt()
	time.Sleep(50 * time.Millisecond) // what it had said may be on its way
	n := said()
	first()
	time.Sleep(100 * time.Millisecond)
	if got := said(); got != n {
		t.Errorf("it has said %d things while it was halted", got-n)
	}
	second()
	until(t, "its going on", func() bool { return said() > n })
	goOn := p.halt()
	if goOn == nil {
		t.Fatal("it could not be halted")
	}
	p.kill()
	p.lives(t, 2)
	goOn() // of another life
	n = said()
	until(t, "its next life", func() bool { return said() > n })
}

func TestAProcessWhoseDiskIsFullGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	p := program(t, "write", path)
	p.lives(t, 1)
	mend, err := p.fill(100)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal of a write", func() bool { return strings.Contains(p.tail.String(), "refused: ") })
	if info, err := os.Stat(path); err != nil || info.Size() > 1000 {
		t.Errorf("%v: the file has %d bytes", err, info.Size())
	}
	mend()
	until(t, "a whole file", func() bool { info, err := os.Stat(path); return err == nil && info.Size() == 1000 })
	if life, _ := p.alive(); life != 1 {
		t.Error("it has died of it")
	}
}

func TestADefectiveProcessIsFoundOut(t *testing.T) {
	for what, want := range map[string]string{"panic": "status 2", "usage": "status 2"} {
		p := program(t, what)
		until(t, "its end", func() bool { return p.fault.Load() != nil })
		if why := *p.fault.Load(); !strings.Contains(why, want) {
			t.Errorf("%s: %s, want %q", what, why, want)
		}
	}
	p := startProcess("p", slog.New(slog.DiscardHandler), "/no/such/program")
	<-p.ended
	if why := p.fault.Load(); why == nil || !strings.Contains(*why, "can't be started") {
		t.Error("a program that isn't there is no defect")
	}
	p.close()
}

func TestTheEndOfWhatAProcessWritesIsKept(t *testing.T) {
	var k tail
	for i := range 20_000 {
		fmt.Fprintf(&k, "line %d\n", i)
	}
	text := k.String()
	if len(text) > tailBytes || lastLine(text) != "line 19999" {
		t.Errorf("%d bytes are kept, and end with %q", len(text), lastLine(text))
	}
}
