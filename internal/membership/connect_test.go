package membership

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEndpointsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		endpoint, network, address, err string
	}{
		{"http://10.0.0.1:2379", "tcp", "10.0.0.1:2379", ""},
		{"https://etcd.example:2379", "tcp", "etcd.example:2379", ""},
		{"localhost:2379", "tcp", "localhost:2379", ""},
		{"[::1]:2379", "tcp", "[::1]:2379", ""},
		{"unix:///run/etcd.sock", "unix", "/run/etcd.sock", ""},
		{"http://10.0.0.1", "", "", "want host:port"},
		{"10.0.0.1", "", "", "want host:port"},
		{"", "", "", "want host:port"},
		{"ftp://10.0.0.1:2379", "", "", "want http, https or unix"},
		{"http://10.0.0.1:port", "", "", `invalid port`},
	} {
		network, address, err := split(tc.endpoint)
		if network != tc.network || address != tc.address || (err == nil) != (tc.err == "") {
			t.Errorf("split(%q) = %q, %q, %v", tc.endpoint, network, address, err)
		}
		if err != nil && (!strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), `"`+tc.endpoint+`"`)) {
			t.Errorf("split(%q): %v, want it to say %q and the endpoint", tc.endpoint, err, tc.err)
		}
	}
	for _, endpoints := range [][]string{nil, {"localhost:2379", "nothing"}} {
		if cli, err := Connect(t.Context(), endpoints, slog.New(slog.DiscardHandler)); cli != nil || err == nil {
			t.Errorf("Connect(%q) = %v, %v", endpoints, cli, err)
		}
	}
}

func TestConnectSaysWhatEachEndpointDid(t *testing.T) {
	listen := func(network, address string) net.Listener {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	closed := listen("tcp", "127.0.0.1:0")
	closed.Close()
	silent := listen("tcp", "127.0.0.1:0") // the kernel accepts; nobody answers
	socket := "unix://" + filepath.Join(t.TempDir(), "none.sock")

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	endpoints := []string{"http://" + closed.Addr().String(), silent.Addr().String(), socket}
	_, err := Connect(ctx, endpoints, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("connected to nothing")
	}
	for _, want := range []string{
		"etcd did not answer within ",
		endpoints[0] + ": connect: connection refused; ",
		endpoints[1] + " accepts connections but does not answer; ",
		socket + ": connect: no such file or directory",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has several lines: %v", err)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Connect(ctx, []string{"127.0.0.1:1"}, slog.New(slog.DiscardHandler))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Connect with an ended context: %v", err)
	}
}
