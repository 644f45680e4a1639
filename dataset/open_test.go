package dataset

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOpenReadsADirectory(t *testing.T) {
	dir := t.TempDir()
	writeBinary(t, dir, 3)
	s, err := Open(t.Context(), dir, OpenOptions{})
	if err != nil || s.Train.Len() != 3 || s.Synthetic {
		t.Fatalf("Open = %v, %v", s, err)
	}
}

func TestOpenOfAMissingDirectoryNamesIt(t *testing.T) {
	for source, want := range map[string]string{
		"":                 `data "": must be auto, cifar10, synthetic or a directory`,
		"cifar100":         "data directory cifar100: does not exist",
		"/no/such/folder":  "data directory /no/such/folder: does not exist",
		"Synthetic":        "data must be auto, cifar10, synthetic or a directory",
		"testdata/python/": "no CIFAR-10 there",
	} {
		if _, err := Open(t.Context(), source, OpenOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, want %q", source, err, want)
		}
	}
}

// dead is a client of a network that is not there.
func dead(t *testing.T, requests int) *http.Client {
	a := &answers{t: t}
	for range requests {
		a.next = append(a.next, refuse)
	}
	return &http.Client{Transport: a}
}

func TestOpenAutoLooksInTheOrderThatIsPromised(t *testing.T) {
	root := t.TempDir()
	env, cache, empty := filepath.Join(root, "env"), filepath.Join(root, "cache"), filepath.Join(root, "empty")
	writeBinary(t, env, 1)
	writeBinary(t, filepath.Join(cache, "cifar-10-batches-bin"), 2)
	archive := cifarArchive(t) // 4 training images
	for _, tc := range []struct {
		name, source, env, cache string
		online                   bool
		train                    int // drawnTrain: synthetic
		warnings                 int
		err                      error
	}{
		{"MUSTER_DATA before the cache", "auto", env, cache, false, 1, 0, nil},
		{"MUSTER_DATA for cifar10 too", "cifar10", env, cache, false, 1, 0, nil},
		{"a wrong MUSTER_DATA is no reason to go elsewhere", "auto", empty, cache, true, 0, 0, fs.ErrNotExist},
		{"MUSTER_DATA may be a word", "auto", "synthetic", cache, true, drawnTrain, 0, nil},
		{"MUSTER_DATA=auto changes nothing", "auto", "auto", cache, false, 2, 0, nil},
		{"MUSTER_DATA=cifar10 forbids falling back", "auto", "cifar10", empty, false, 0, 0, ErrUnreachable},
		{"MUSTER_DATA=synthetic is not CIFAR-10", "cifar10", "synthetic", cache, false, 2, 0, nil},
		{"the cache before the network", "auto", "", cache, true, 2, 0, nil},
		{"the network", "auto", "", filepath.Join(root, "new1"), true, 4, 0, nil},
		{"the network for cifar10", "cifar10", "", filepath.Join(root, "new2"), true, 4, 0, nil},
		{"synthetic at last", "auto", "", filepath.Join(root, "new3"), false, drawnTrain, 1, nil},
		{"never for cifar10", "cifar10", "", filepath.Join(root, "new4"), false, 0, 0, ErrUnreachable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("MUSTER_DATA", tc.env)
			logger, log := quiet()
			o := OpenOptions{CacheDir: tc.cache, Logger: logger}
			if tc.online {
				o.Archive = described(serve(t, &site{data: archive}), archive)
			} else {
				o.Client = dead(t, 1)
			}
			s, err := Open(t.Context(), tc.source, o)
			if !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
				t.Fatalf("Open(%q) = %v, want %v", tc.source, err, tc.err)
			}
			if err == nil && (s.Train.Len() != tc.train || s.Synthetic != (tc.train == drawnTrain)) {
				t.Errorf("Open(%q): %d training images, synthetic %v; want %d", tc.source, s.Train.Len(), s.Synthetic, tc.train)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != tc.warnings {
				t.Errorf("Open(%q) warned %d times, want %d:\n%s", tc.source, n, tc.warnings, log)
			}
			if tc.env == empty && !strings.Contains(err.Error(), "MUSTER_DATA: data directory "+empty) {
				t.Errorf("%v does not name MUSTER_DATA and the directory", err)
			}
		})
	}
}

func TestOpenAutoFallsBackAfterTenSeconds(t *testing.T) {
	t.Setenv("MUSTER_DATA", "")
	cache := t.TempDir()
	Synthetic() // drawn before the bubble, which is to measure nothing but waiting
	synctest.Test(t, func(t *testing.T) {
		logger, log := quiet()
		start := time.Now()
		client := &http.Client{Transport: &answers{t: t, next: []func(*http.Request) (*http.Response, error){hang}}}
		s, err := Open(t.Context(), "auto", OpenOptions{CacheDir: cache, Logger: logger, Client: client})
		if err != nil || !s.Synthetic {
			t.Fatalf("Open = %v, %v; want the synthetic set", s, err)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("fell back after %v, want at most 10s", d)
		}
		for _, part := range []string{"level=WARN", "not CIFAR-10", "synthetic", CIFAR10.URL, "no answer within 10s"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("the warning lacks %q: %s", part, log)
			}
		}
	})
}

func TestOpenAutoDoesNotHideDamage(t *testing.T) {
	t.Setenv("MUSTER_DATA", "")
	data := cifarArchive(t)
	wrong := described("", data)
	wrong.SHA256 = strings.Repeat("1", 64)
	wrong.URL = serve(t, &site{data: data})
	if _, err := Open(t.Context(), "auto", OpenOptions{CacheDir: t.TempDir(), Archive: wrong}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("auto with a wrong checksum = %v, want %v", err, ErrCorrupt)
	}
	cache := t.TempDir()
	folder := filepath.Join(cache, "cifar-10-batches-bin")
	writeBinary(t, folder, 1)
	if err := os.Truncate(filepath.Join(folder, "data_batch_1.bin"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "auto", OpenOptions{CacheDir: cache, Client: dead(t, 0)}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("auto with a damaged cache = %v, want %v", err, ErrCorrupt)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, "auto", OpenOptions{CacheDir: t.TempDir(), Client: dead(t, 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("auto with a cancelled context = %v, want %v", err, context.Canceled)
	}
}

func TestOpenWithoutACacheDirectorySaysWhatToSet(t *testing.T) {
	for _, name := range []string{"MUSTER_DATA", "HOME", "XDG_CACHE_HOME", "LocalAppData", "home"} {
		t.Setenv(name, "")
	}
	if _, err := Open(t.Context(), "auto", OpenOptions{Client: dead(t, 0)}); err == nil || !strings.Contains(err.Error(), "set MUSTER_DATA") {
		t.Errorf("Open = %v, want advice to set MUSTER_DATA", err)
	}
}
