package dataset

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// described returns where data is served and what it must be.
func described(url string, data []byte) Archive {
	m, s := md5.Sum(data), sha256.Sum256(data)
	return Archive{URL: url, MD5: hex.EncodeToString(m[:]), SHA256: hex.EncodeToString(s[:])}
}

// site serves data with ranges and keeps the Range headers it was asked with.
type site struct {
	data []byte

	mu     sync.Mutex // guards the fields below
	ranges []string
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	s.mu.Unlock()
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL + "/cifar-10-binary.tar.gz"
}

// quiet is a logger whose lines a test can read.
func quiet() (*slog.Logger, *bytes.Buffer) {
	var buf bytes.Buffer
	return slog.New(slog.NewTextHandler(&buf, nil)), &buf
}

// leftovers lists what Fetch left in dir besides the data and its lock.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "cifar-10-batches-bin" && e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestFetchInstallsTheArchive(t *testing.T) {
	s := &site{data: cifarArchive(t)}
	dir := filepath.Join(t.TempDir(), "deep", "cache")
	logger, _ := quiet()
	var done, total []int64
	o := OpenOptions{Archive: described(serve(t, s), s.data), Logger: logger, Progress: func(d, n int64) {
		done, total = append(done, d), append(total, n)
	}}
	if err := Fetch(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	set, err := openDir(dir)
	if err != nil || set.Train.Len() != 4 {
		t.Fatalf("fetched set: %v", err)
	}
	if got := leftovers(t, dir); len(got) != 0 {
		t.Errorf("left %v behind", got)
	}
	if n := int64(len(s.data)); len(done) == 0 || done[len(done)-1] != n || total[0] != n {
		t.Errorf("progress %v of %v, want it to end with %d of %d", done, total, n, n)
	}
	if err := Fetch(t.Context(), dir, o); err != nil {
		t.Error(err)
	}
	if len(s.ranges) != 1 {
		t.Errorf("%d requests for two fetches, want 1", len(s.ranges))
	}
}

func TestFetchTakesUpAPart(t *testing.T) {
	whole := cifarArchive(t)
	for _, tc := range []struct {
		name   string
		part   []byte
		ranges []string
	}{
		{"half of it", whole[:len(whole)/2], []string{"bytes=HALF-"}},
		{"all of it", whole, []string{"bytes=ALL-"}},
		{"more than it", append(bytes.Clone(whole), 1, 2, 3), []string{"bytes=MORE-", ""}},
		{"half of something else", bytes.Repeat([]byte("?"), len(whole)/2), []string{"bytes=HALF-", ""}},
		{"all of something else", bytes.Repeat([]byte("?"), len(whole)), []string{"bytes=ALL-", ""}},
		{"nothing", nil, []string{""}},
	} {
		s := &site{data: whole}
		dir := t.TempDir()
		write(t, filepath.Join(dir, partName), tc.part)
		logger, _ := quiet()
		if err := Fetch(t.Context(), dir, OpenOptions{Archive: described(serve(t, s), whole), Logger: logger}); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		want := strings.NewReplacer("HALF", itoa(len(whole)/2), "ALL", itoa(len(whole)), "MORE", itoa(len(whole)+3)).Replace(strings.Join(tc.ranges, ","))
		if got := strings.Join(s.ranges, ","); got != want {
			t.Errorf("%s: asked for ranges %q, want %q", tc.name, got, want)
		}
		if _, err := openDir(dir); err != nil || len(leftovers(t, dir)) != 0 {
			t.Errorf("%s: %v, left %v", tc.name, err, leftovers(t, dir))
		}
	}
}

func TestFetchRefusesWrongChecksums(t *testing.T) {
	data := cifarArchive(t)
	s := &site{data: data}
	url := serve(t, s)
	right := described(url, data)
	for _, tc := range []struct {
		name    string
		archive Archive
		want    string
	}{
		{"sha256", Archive{url, right.MD5, strings.Repeat("0", 64)}, "expected sha256 " + strings.Repeat("0", 64) + ", found " + right.SHA256},
		{"md5", Archive{url, strings.Repeat("0", 32), right.SHA256}, "expected md5 " + strings.Repeat("0", 32) + ", found " + right.MD5},
		{"those of CIFAR-10 by default", Archive{URL: url}, "expected sha256 c4a38c50"},
	} {
		dir := t.TempDir()
		logger, _ := quiet()
		err := Fetch(t.Context(), dir, OpenOptions{Archive: tc.archive, Logger: logger})
		if !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), url) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if _, _, err := find(dir); err == nil || len(leftovers(t, dir)) != 0 {
			t.Errorf("%s: the directory has data (%v) or %v", tc.name, err, leftovers(t, dir))
		}
	}
}

func TestFetchInstallsNothingThatDoesNotRead(t *testing.T) {
	const folder = "cifar-10-batches-bin/"
	for name, data := range map[string][]byte{
		"test_batch.bin is missing":                        archiveOf(t, entry{name: folder + "data_batch_1.bin", data: binaryOf(someImages(1, 0))}),
		"data_batch_1.bin: offset 0: expected the label":   archiveOf(t, entry{name: folder + "data_batch_1.bin", data: bytes.Repeat([]byte{99}, RecordBytes)}, entry{name: folder + "test_batch.bin", data: binaryOf(someImages(1, 0))}),
		"expected only files of cifar-10-batches-bin":      archiveOf(t, entry{name: "/etc/cron.d/x", data: []byte("x")}),
		partName + ": offset 4: expected a gzip archive":   []byte("text"),
		partName + ": offset 0: expected a gzip archive: ": {},
	} {
		dir := t.TempDir()
		logger, _ := quiet()
		err := Fetch(t.Context(), dir, OpenOptions{Archive: described(serve(t, &site{data: data}), data), Logger: logger})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Fetch = %v, want %q", err, name)
		}
		if _, _, err := find(dir); err == nil {
			t.Errorf("%s: the directory has data", name)
		}
		for _, left := range leftovers(t, dir) {
			if left != partName {
				t.Errorf("%s: left %s behind", name, left)
			}
		}
	}
}

func TestFetchersWaitForEachOther(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockDir(t.Context(), dir, func() { t.Error("the first holder waits") })
	if err != nil {
		t.Fatal(err)
	}
	s := &site{data: cifarArchive(t)}
	o := OpenOptions{Archive: described(serve(t, s), s.data)}
	waits := make(chan struct{})
	o.Logger = slog.New(tell{func() { close(waits) }})
	result := make(chan error)
	go func() { result <- Fetch(t.Context(), dir, o) }()
	<-waits
	// The first process finishes: the second finds the data and asks for none.
	writeBinary(t, filepath.Join(dir, "cifar-10-batches-bin"), 1)
	unlock()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if len(s.ranges) != 0 {
		t.Errorf("the second fetcher made %d requests, want none", len(s.ranges))
	}
}

// tell is a log handler that calls a function at each line.
type tell struct{ f func() }

func (h tell) Enabled(context.Context, slog.Level) bool  { return true }
func (h tell) Handle(context.Context, slog.Record) error { h.f(); return nil }
func (h tell) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h tell) WithGroup(string) slog.Handler             { return h }

func TestWaitingForTheLockHeedsTheContext(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockDir(t.Context(), dir, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lockDir(ctx, dir, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("lockDir = %v, want %v", err, context.Canceled)
	}
}

func TestFetchRefusesAddressesItCantUse(t *testing.T) {
	for _, url := range []string{"ftp://host/x", "/a/path", "host/x", "http://", "://"} {
		err := Fetch(t.Context(), t.TempDir(), OpenOptions{Archive: Archive{URL: url}})
		if err == nil || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "must begin with http:// or https://") {
			t.Errorf("address %q: %v", url, err)
		}
	}
}
