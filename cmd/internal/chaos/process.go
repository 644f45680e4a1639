package chaos

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// restartPause is how long a process that has ended stays away.
const restartPause = 400 * time.Millisecond

// process is a program that is started again whenever it ends, until it is retired.
type process struct {
	name string
	argv []string
	log  *slog.Logger

	mu      sync.Mutex // guards the fields below
	running *exec.Cmd  // nil: it is not running
	life    int        // how often it has been started
	halts   int        // faults that halt it
	held    int        // faults that keep it from being started
	retired bool
	wake    chan struct{} // closed, and made anew, when held or retired changes

	tail  tail // of what all its lives have written
	ended chan struct{}
	fault atomic.Pointer[string] // why an end of it is a defect; nil: none has been
}

// startProcess starts a program.
func startProcess(name string, log *slog.Logger, argv ...string) *process {
	p := &process{name: name, argv: argv, log: log, wake: make(chan struct{}), ended: make(chan struct{})}
	go p.keep()
	return p
}

// keep runs the program, again and again.
func (p *process) keep() {
	defer close(p.ended)
	for p.await() {
		cmd := exec.Command(p.argv[0], p.argv[1:]...)
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &p.tail, &p.tail, tied()
		started, err := p.start(cmd)
		if err != nil {
			p.blame(fmt.Sprintf("can't be started: %v", err))
			return
		}
		if !started {
			continue
		}
		err = cmd.Wait()
		p.mu.Lock()
		p.running, p.halts = nil, 0
		done := p.retired
		p.mu.Unlock()
		p.judge(cmd, err)
		if done {
			return
		}
		time.Sleep(restartPause)
	}
}

// await waits until the program may run; false: it is not to run any more.
func (p *process) await() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held > 0 && !p.retired {
		wake := p.wake
		p.mu.Unlock()
		<-wake
		p.mu.Lock()
	}
	return !p.retired
}

// start starts the program, unless it is not to run by now.
func (p *process) start(cmd *exec.Cmd) (started bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held > 0 || p.retired {
		return false, nil
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	p.running = cmd
	p.life++
	return true, nil
}

// judge tells an end that nobody caused from one of a plan, or of a server that was
// deposed or stopped: a program that crashes, or refuses to begin, is defective.
func (p *process) judge(cmd *exec.Cmd, err error) {
	const failed, usage = 1, 2
	var exit *exec.ExitError
	code := cmd.ProcessState.ExitCode()
	text := p.tail.String()
	switch {
	case errors.As(err, &exit) && code == usage, strings.Contains(text, "\npanic: "), strings.Contains(text, "fatal error: "), strings.Contains(text, "DATA RACE"):
		p.blame(fmt.Sprintf("ended with status %d: %s", code, lastLine(text)))
	case code == failed:
		p.log.Info("process ended", "process", p.name, "status", code, "said", lastLine(text))
	case code >= 0:
		p.log.Debug("process ended", "process", p.name, "status", code)
	}
}

func (p *process) blame(why string) {
	p.fault.CompareAndSwap(nil, &why)
	p.log.Error("process is defective", "process", p.name, "why", why)
}

// signal sends a signal to the program, if it is running.
func (p *process) signal(s syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running != nil && p.running.Process.Signal(s) == nil
}

// kill ends the program at once.
func (p *process) kill() bool { return p.signal(syscall.SIGKILL) }

// terminate asks the program to end, which one that is halted does once it goes on.
func (p *process) terminate() bool { return p.signal(syscall.SIGTERM) }

// halt has the program stand still, until the function it returns is called for each; nil:
// it is not running.
func (p *process) halt() (goOn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil || p.running.Process.Signal(syscall.SIGSTOP) != nil {
		return nil
	}
	life := p.life
	p.halts++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.life != life || p.running == nil || p.halts == 0 {
			return // that life has ended
		}
		if p.halts--; p.halts == 0 {
			_ = p.running.Process.Signal(syscall.SIGCONT) // it may have ended meanwhile
		}
	}
}

// hold keeps the program from being started again, until the function it returns is called.
func (p *process) hold() (letGo func()) {
	change := func(by int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.held += by
		close(p.wake)
		p.wake = make(chan struct{})
	}
	change(1)
	return func() { change(-1) }
}

// fill has the program's writes to files fail from so many bytes on; nil: it is not running.
func (p *process) fill(bytes uint64) (mend func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return nil, nil
	}
	pid, life := p.running.Process.Pid, p.life
	if err := limitFiles(pid, bytes); err != nil {
		return nil, fmt.Errorf("limit the files of %s: %w", p.name, err)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.running != nil && p.life == life {
			_ = limitFiles(pid, unlimited) // it may have ended meanwhile
		}
	}, nil
}

// alive tells whether the program is running, and which of its lives this is.
func (p *process) alive() (life int, running bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life, p.running != nil
}

// retire has the program not be started again once it ends.
func (p *process) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	close(p.wake)
	p.wake = make(chan struct{})
}

// close ends the program for good.
func (p *process) close() {
	p.retire()
	for {
		p.kill()
		select {
		case <-p.ended:
			return
		case <-time.After(20 * time.Millisecond): // it was just being started
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// writeTail leaves what the program has written in a file, for whoever looks into a failure.
func (p *process) writeTail(path string) error {
	return os.WriteFile(path, []byte(p.tail.String()), 0o600)
}
