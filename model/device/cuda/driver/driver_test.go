//go:build linux && !nogpu

package driver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// acts are what a process does that loads a driver: which library that is, is settled when a
// process starts. What it prints is compared.
var acts = map[string]func() error{
	"open":   func() error { _, err := Open(); return err },
	"look":   look,
	"device": func() error { return onDevice(9, func(*Device) error { return nil }) },
	"copies": func() error { return onDevice(0, copies) },
	"memory": func() error { return onDevice(0, memory) },
	"kernel": func() error { return onDevice(0, kernels) },
	"graph":  func() error { return onDevice(0, graph) },
	"bad": func() error {
		return onDevice(0, func(v *Device) error { _, err := v.Load("loss", "nonsense"); return err })
	},
	"fault": func() error {
		return onDevice(0, func(v *Device) error { s, err := v.NewStream(); return errors.Join(err, s.Synchronize()) })
	},
}

func TestMain(m *testing.M) {
	if act := acts[os.Getenv("DRIVER_ACT")]; act != nil {
		err := act()
		var fault *Error
		var lack *Unusable
		fmt.Printf("%v\n", err)
		fmt.Printf("sticky %v, unusable %v\n", errors.As(err, &fault) && fault.Sticky(), errors.As(err, &lack))
		return
	}
	os.Exit(m.Run())
}

func onDevice(index int, f func(v *Device) error) error {
	d, err := Open()
	if err != nil {
		return err
	}
	v, err := d.OpenDevice(index)
	if err != nil {
		return err
	}
	defer v.Close()
	return v.Do(func() error { return f(v) })
}

func look() error {
	return onDevice(0, func(v *Device) error {
		name, err := v.Name()
		capability, err2 := v.Capability()
		processors, err3 := v.Processors()
		n, err4 := v.d.Count()
		fmt.Println(v.d.Version(), n, name, capability, processors)
		return errors.Join(err, err2, err3, err4)
	})
}

func copies(v *Device) error {
	from, err := v.HostAlloc(64)
	if err != nil {
		return err
	}
	to, err := v.HostAlloc(64)
	if err != nil {
		return err
	}
	a, err := v.Alloc(64)
	if err != nil {
		return err
	}
	b, err := v.Alloc(64)
	if err != nil {
		return err
	}
	s, err := v.NewStream()
	if err != nil {
		return err
	}
	e, err := v.NewEvent()
	if err != nil {
		return err
	}
	for i := range from {
		from[i] = byte(i)
	}
	err = errors.Join(s.Upload(a, from), s.Copy(b, a, 64), s.Fill(b, 0x01020304, 2), s.Download(to, b), s.Record(e), s.Wait(e), e.Synchronize(), s.Synchronize())
	fmt.Println(to[:12])
	return errors.Join(err, e.Close(), s.Close(), v.Free(a), v.Free(b), v.HostFree(from), v.HostFree(to))
}

func memory(v *Device) error {
	p, err := v.Alloc(600_000)
	if err != nil {
		return err
	}
	if _, err = v.Alloc(600_000); err == nil {
		return errors.New("more than there is was allocated")
	}
	fmt.Println(err)
	if err := v.Free(p); err != nil {
		return err
	}
	_, err = v.Alloc(600_000)
	return err
}

func kernels(v *Device) error {
	m, err := v.Load("update", ".version 7.0\n")
	if err != nil {
		return err
	}
	f, err := m.Function("momentum")
	if err != nil {
		return err
	}
	s, err := v.NewStream()
	if err != nil {
		return err
	}
	if err := s.Launch(f, 3, 128, 7); err == nil {
		return errors.New("an argument of no type was taken")
	} else {
		fmt.Println(err)
	}
	if err := s.Launch(f, 3, 128, make([]any, 25)...); err == nil {
		return errors.New("too many arguments were taken")
	}
	return errors.Join(s.Launch(f, 3, 128, Pointer(0x1234), uint32(5), int32(-1), float32(1)), m.Unload())
}

func graph(v *Device) error {
	s, err := v.NewStream()
	if err != nil {
		return err
	}
	p, err := v.Alloc(64)
	if err != nil {
		return err
	}
	g, err := s.Capture(func() error { return s.Fill(p, 1, 1) })
	if err != nil {
		return err
	}
	failed := errors.New("on purpose")
	if _, err := s.Capture(func() error { return failed }); !errors.Is(err, failed) {
		return fmt.Errorf("a capture that fails: %v", err)
	}
	return errors.Join(s.Run(g), s.Run(g), g.Close())
}

// library makes the stand-in for the driver; the test is left out without a C compiler.
func library(t *testing.T, flags ...string) string {
	t.Helper()
	cc, err := exec.LookPath("gcc")
	if err != nil {
		if cc, err = exec.LookPath("clang"); err != nil {
			t.Skipf("%s needs a C compiler, for a stand-in for the driver", t.Name())
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command(cc, append([]string{"-shared", "-fPIC", "-o", filepath.Join(dir, soname), "testdata/libcuda.c"}, flags...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// perform runs an act with the library of a directory, and returns what it says.
func perform(t *testing.T, act, dir string, env ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "DRIVER_ACT="+act, "LD_LIBRARY_PATH="+dir), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", act, err, out)
	}
	return string(out)
}

func TestTheDriverIsLoadedAndAsked(t *testing.T) {
	dir := library(t)
	if got, want := perform(t, "look", dir), "12040 1 Imaginary GPU 0 90 132\n<nil>\n"; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := perform(t, "copies", dir), "[4 3 2 1 4 3 2 1 8 9 10 11]\n<nil>\n"; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := perform(t, "graph", dir); !strings.HasPrefix(got, "<nil>\n") {
		t.Errorf("%q, want no error", got)
	}
}

func TestWhoLacksSomethingIsToldWhatToDo(t *testing.T) {
	whole, old := library(t), library(t, "-DcuGraphLaunch=elsewhere")
	for _, tc := range []struct {
		name, act, dir string
		env            []string
		want           string
	}{
		{"no driver", "open", t.TempDir(), nil, "no NVIDIA driver: libcuda.so.1: cannot open shared object file.*; install one, or leave --gpu out"},
		{"a missing symbol", "open", old, nil, "the NVIDIA driver is too old: its libcuda.so.1 has no cuGraphLaunch; version 450.80.02 or later"},
		{"an old driver", "open", whole, []string{"FAKE_CUDA_VERSION=10020"}, `the NVIDIA driver is too old: it knows CUDA 10\.2, and version 450`},
		{"no device", "device", whole, []string{"FAKE_CUDA_DEVICES=0"}, "the NVIDIA driver is there, and no GPU: nvidia-smi lists"},
		{"no device, says cuInit", "open", whole, []string{"FAKE_CUDA_FAIL=cuInit:100"}, "the NVIDIA driver is there, and no GPU"},
		{"none to be seen", "open", whole, []string{"FAKE_CUDA_FAIL=cuInit:100", "CUDA_VISIBLE_DEVICES="}, `no GPU can be seen: CUDA_VISIBLE_DEVICES is ""; unset it`},
		{"a driver that does not fit the kernel", "open", whole, []string{"FAKE_CUDA_FAIL=cuInit:803"}, `the NVIDIA driver can't be used: cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH \(803\); nvidia-smi may say why`},
		{"an index beyond the only one", "device", whole, nil, "GPU 9: there is one, 0$"},
		{"an index beyond the last", "device", whole, []string{"FAKE_CUDA_DEVICES=4"}, "GPU 9: there are 4, 0 to 3$"},
	} {
		said := perform(t, tc.act, tc.dir, tc.env...)
		line, rest, _ := strings.Cut(said, "\n")
		if !regexp.MustCompile(tc.want).MatchString(line) || rest != "sticky false, unusable true\n" {
			t.Errorf("%s: %q, want %q, and that no GPU can be used", tc.name, said, tc.want)
		}
	}
}

func TestErrorsNameCallCodeAndDevice(t *testing.T) {
	dir := library(t)
	for _, tc := range []struct{ act, fail, want string }{
		{"fault", "cuStreamSynchronize:700", "GPU 0: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS (700)\nsticky true"},
		{"fault", "cuStreamCreate:1", "GPU 0: cuStreamCreate: CUDA_ERROR_INVALID_VALUE (1)\n"},
		{"fault", "cuCtxSetCurrent:77", "GPU 0: cuCtxSetCurrent: unknown error (77)\nsticky false"},
		{"fault", "cuDevicePrimaryCtxRetain:1", "GPU 0: cuDevicePrimaryCtxRetain: CUDA_ERROR_INVALID_VALUE (1)\n"},
		{"memory", "cuMemFree_v2:700", "GPU 0: cuMemFree_v2: CUDA_ERROR_ILLEGAL_ADDRESS (700)\nsticky true"},
		{"bad", "", "kernels of loss: GPU 0: cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX (218): line 1: what is nonsense?\n"},
	} {
		if got := perform(t, tc.act, dir, "FAKE_CUDA_FAIL="+tc.fail); !strings.Contains(got, tc.want) {
			t.Errorf("%s with %s: %q, want %q", tc.act, tc.fail, got, tc.want)
		}
	}
}

func TestWantOfMemoryIsToldInNumbers(t *testing.T) {
	got := perform(t, "memory", library(t))
	if want := "GPU 0: 0.6 MB of memory were asked for, 0.4 MB of 1.0 MB are free: a smaller batch needs less, and other processes may be using it\n<nil>\n"; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Every call fails once: none of them is passed over, and none is a panic.
func TestEveryCallMayFail(t *testing.T) {
	dir := library(t)
	for _, act := range []string{"look", "copies", "memory", "kernel", "graph"} {
		log := filepath.Join(t.TempDir(), "log")
		perform(t, act, dir, "FAKE_CUDA_LOG="+log)
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		var calls []string
		for line := range strings.Lines(string(text)) {
			if call, _, _ := strings.Cut(line, " "); strings.HasPrefix(call, "cu") && !slices.Contains(calls, call) {
				calls = append(calls, call)
			}
		}
		if len(calls) < 8 {
			t.Fatalf("%s calls %v", act, calls)
		}
		for _, call := range calls {
			got := perform(t, act, dir, "FAKE_CUDA_FAIL="+call+":1")
			// What is given back at the end of the process is given back by that.
			if passes := call == "cuDevicePrimaryCtxRelease_v2" || call == "cuGraphDestroy"; !passes && !strings.Contains(got, call+": CUDA_ERROR_INVALID_VALUE (1)") {
				t.Errorf("%s with a %s that fails says %q", act, call, got)
			}
		}
	}
}

// A context is of a thread: all calls for a device but the first must come from one.
func TestADevicesCallsComeFromItsThread(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	perform(t, "copies", library(t), "FAKE_CUDA_LOG="+log)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	threads := map[string]bool{}
	retained := false
	for line := range strings.Lines(string(text)) {
		call, thread, _ := strings.Cut(strings.TrimSpace(line), " ")
		if retained = retained || call == "cuDevicePrimaryCtxRetain"; retained {
			threads[thread] = true
		}
	}
	if len(threads) != 1 || !bytes.Contains(text, []byte("cuDevicePrimaryCtxRelease_v2")) {
		t.Errorf("calls come from threads %v:\n%s", threads, text)
	}
}

func TestArgumentsOfKernelsArrive(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if got := perform(t, "kernel", library(t), "FAKE_CUDA_LOG="+log); got != "GPU 0: argument 0 of a kernel is a int\n<nil>\nsticky false, unusable false\n" {
		t.Errorf("%q", got)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if want := "kernel 508 grid 3 block 128: 1234 5 ffffffff 3f800000\n"; !strings.Contains(string(text), want) {
		t.Errorf("%s, want %q in it", text, want)
	}
}
