package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/bench"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
)

// benchExchangeArguments measure in no time.
func benchExchangeArguments(more string) []string {
	return strings.Fields("bench exchange --network lenet5 --turns 3 --log-level error " + more)
}

func TestBenchExchangeMeasuresSeveralServers(t *testing.T) {
	args := strings.Fields("bench exchange --network alexnet-cifar --workers 2 --parts 1,3 --turns 1 --transport local,unix,tcp --encoding f32 --log-level error --json")
	status, stdout, stderr := muster(t.Context(), args...)
	if status != settings.StatusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var got []string
	for line := range strings.Lines(stdout) {
		var l exchangeLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(l.Parts, l.Transport))
		if l.DownBytes == 0 || l.Milliseconds <= 0 {
			t.Errorf("measured was %+v", l)
		}
	}
	if want := []string{"1local", "1unix", "1tcp", "3unix", "3tcp"}; !slices.Equal(got, want) {
		t.Errorf("measured %v, want %v", got, want)
	}
	for more, want := range map[string]string{
		"--parts 2":                   "--parts 2: 1 to 1 are possible, the chunks that lenet5 has",
		"--parts 0":                   "--parts 0: 1 to 1",
		"--network alexnet --parts 2": "--parts 2 with transport local: several servers are reached over unix and tcp alone",
	} {
		if status, _, stderr := muster(t.Context(), benchExchangeArguments("--transport local "+more)...); status != settings.StatusUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q; want %q", more, status, stderr, want)
		}
	}
}

func TestBenchExchangePrintsALineForEachTransportEncodingAndNumberOfWorkers(t *testing.T) {
	status, stdout, stderr := muster(t.Context(), benchExchangeArguments("--workers 3,1 --json")...)
	if status != settings.StatusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	net, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	size := net.Layout.Size() // one chunk
	type key struct {
		workers             int
		encoding, transport string
	}
	var got []key
	for line := range strings.Lines(stdout) {
		var l exchangeLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, key{l.Workers, l.Encoding, l.Transport})
		if l.Parts != 1 || l.Network != "lenet5" || l.Shards != 8 || l.Turns != 3 {
			t.Errorf("measured was %+v", l)
		}
		// One worker sends the sum of all shards; of 8 shards three workers have 2 or
		// 3 each, and one or more nodes.
		up, down := 4*size, 4*size
		if l.Transport == "unix" || l.Transport == "tcp" {
			e, err := wire.ParseEncoding(l.Encoding)
			if err != nil {
				t.Fatal(err)
			}
			up, down = wire.PayloadBytes(e.Gradients(), size), wire.PayloadBytes(e.Parameters(), size)
		}
		if l.DownBytes != down || l.Workers == 1 && l.UpBytes != up || l.UpBytes < up || l.UpBytes > 3*up {
			t.Errorf("%d workers, %s, %s: %d bytes up and %d down, want %d and %d for one", l.Workers, l.Transport, l.Encoding, l.UpBytes, l.DownBytes, up, down)
		}
		for name, ratio := range map[string][2]float64{"tcp": {l.RatioTCP, l.TCPMS}, "unix": {l.RatioUnix, l.UnixMS}, "memcpy": {l.RatioMemcpy, l.MemcpyMS}} {
			if want := l.Milliseconds / ratio[1]; ratio[1] <= 0 || math.Abs(ratio[0]/want-1) > 1e-9 {
				t.Errorf("%d workers, %s: %v times raw %s, want %v", l.Workers, l.Transport, ratio[0], name, want)
			}
		}
		if l.Garbage == 0 {
			t.Errorf("%d workers, %s: no garbage at all", l.Workers, l.Transport)
		}
	}
	var want []key
	for _, workers := range []int{3, 1} {
		for _, encoding := range wire.Encodings {
			for _, transport := range bench.TransportsHere() {
				want = append(want, key{workers, encoding, transport})
			}
		}
	}
	if len(got) != len(want) {
		t.Fatalf("measured %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is of %v, want %v", i, got[i], want[i])
		}
	}
}

// The names of fields are what others read.
func TestBenchExchangeFields(t *testing.T) {
	var line map[string]any
	prints(t, &line, benchExchangeArguments("--workers 1 --transport unix --encoding f32 --json")...)
	for _, name := range []string{"workers", "transport", "encoding", "parts", "ratio_tcp", "garbage_bytes_per_step", "cpu_seconds_per_step"} {
		if line[name] == nil {
			t.Errorf("no field %s in %v", name, line)
		}
	}
}

func TestBenchExchangePrintsATable(t *testing.T) {
	status, stdout, stderr := muster(t.Context(), benchExchangeArguments("--workers 2 --transport local")...)
	if status != settings.StatusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, want := range []string{"of raw TCP", "local", "lenet5, 8 shards", "medians of 3 turns", "Raw, 2 connections"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

func TestBenchExchangeRefuses(t *testing.T) {
	for arguments, want := range map[string]string{
		"--workers 9":              "--workers 9: 1 to 8 are allowed, the shards there are",
		"--workers 0":              "--workers 0: 1 to 8 are allowed",
		"--shards 0":               "--shards 0: at least 1 shard is needed",
		"--turns 0":                "--turns 0: 1 to 1000 are allowed",
		"--transport udp":          "--transport udp: all, or of local, memory, unix, tcp",
		"--transport all,tcp":      "--transport all,tcp: all stands alone",
		"--encoding fp8":           "--encoding fp8: all, or of f32, bf16, int8, factors",
		"--network resnet":         "resnet",
		"--workers 2 --shards two": "two",
	} {
		status, stdout, stderr := muster(t.Context(), benchExchangeArguments(arguments)...)
		if status != settings.StatusUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q, want status %d and %q", arguments, status, stderr, settings.StatusUsage, want)
		}
	}
}
