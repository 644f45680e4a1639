package serve

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
)

// folder is one whose paths are short enough for unix sockets.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "serve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listening is a listener that the test's end closes.
func listening(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestAddressInUseIsNamed(t *testing.T) {
	tcp := listening(t, "tcp", "127.0.0.1:0").Addr().String()
	path := filepath.Join(folder(t), "s")
	listening(t, "unix", path)
	for _, address := range []string{tcp, "unix://" + path} {
		free := filepath.Join(folder(t), "free")
		_, err := Listen([]string{"unix://" + free, address})
		if err == nil || settings.Status(err) != settings.StatusUsage || !strings.Contains(err.Error(), address+" is in use") {
			t.Errorf("Listen(%s) = %v; want wrong use that names it", address, err)
		}
		// What was open before has been closed: the address is free again.
		if again, err := Listen([]string{"unix://" + free}); err != nil {
			t.Errorf("after %s was refused: %v", address, err)
		} else {
			closeAll(again)
		}
	}
	// The socket of the living process still answers.
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the other process's socket is gone: %v", err)
	}
	conn.Close()
}

func TestSocketLeftOverIsTakenAway(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	l := listening(t, "unix", path).(*net.UnixListener)
	l.SetUnlinkOnClose(false) // as when its process is killed
	l.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	all, err := Listen([]string{"unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	closeAll(all)
}

func TestFileInPlaceOfASocketIsKept(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen([]string{"unix://" + path}); settings.Status(err) != settings.StatusUsage {
		t.Errorf("Listen = %v, want wrong use", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
}

func TestListenRefusesWhatIsNoAddress(t *testing.T) {
	for _, address := range []string{"localhost", "localhost:99999", "unix:///nowhere/at/all", "256.0.0.1:1"} {
		if all, err := Listen([]string{address}); err == nil || settings.Status(err) != settings.StatusUsage || !strings.Contains(err.Error(), address) {
			closeAll(all)
			t.Errorf("Listen(%q) = %v; want wrong use that names it", address, err)
		}
	}
}

func TestReachable(t *testing.T) {
	l := listening(t, "tcp", "127.0.0.1:0")
	if got := reachable(l); got != l.Addr().String() {
		t.Errorf("reachable(%v) = %s", l.Addr(), got)
	}
	path := filepath.Join(folder(t), "s")
	if got := reachable(listening(t, "unix", path)); got != "unix://"+path {
		t.Errorf("reachable = %s, want unix://%s", got, path)
	}
	// One that takes any address is reached by an address of this machine.
	wild := listening(t, "tcp", ":0")
	got := reachable(wild)
	host, port, err := net.SplitHostPort(got)
	_, want, _ := net.SplitHostPort(wild.Addr().String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() || port != want {
		t.Errorf("reachable(%v) = %s", wild.Addr(), got)
	}
}
