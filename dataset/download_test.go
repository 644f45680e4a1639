package dataset

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// answers is a transport that answers each request with the next function; it
// fails the test when asked more often.
type answers struct {
	t    *testing.T
	next []func(r *http.Request) (*http.Response, error)
	seen []string // Range headers
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Accept-Encoding") != "identity" {
		a.t.Errorf("Accept-Encoding = %q, want identity", r.Header.Get("Accept-Encoding"))
	}
	n := len(a.seen)
	a.seen = append(a.seen, r.Header.Get("Range"))
	if n >= len(a.next) {
		a.t.Errorf("request %d was not expected", n+1)
		return nil, errors.New("too many requests")
	}
	return a.next[n](r)
}

// body gives data and then an error.
type body struct {
	data io.Reader
	err  error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}
func (b *body) Close() error { return nil }

// answer is a response with a header line, a length that is claimed, and a body
// that ends with err.
func answer(status int, contentRange string, length int64, data []byte, err error) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		if contentRange != "" {
			h.Set("Content-Range", contentRange)
		}
		return &http.Response{
			Status: itoa(status) + " " + http.StatusText(status), StatusCode: status, Header: h,
			ContentLength: length, Body: &body{bytes.NewReader(data), err}, Request: r,
		}, nil
	}
}

func refuse(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// hang answers only when the request is given up.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// stall answers with some bytes and then nothing.
func stall(status int, contentRange string, data []byte) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := answer(status, contentRange, -1, data, nil)(r)
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(data), waitReader{r.Context()}), resp.Body}
		return resp, err
	}
}

// waitReader gives nothing until its context ends.
type waitReader struct{ ctx context.Context }

func (w waitReader) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func TestDownloadOverBadConnections(t *testing.T) {
	data := []byte("0123456789")
	reset := errors.New("connection reset")
	type functions = []func(*http.Request) (*http.Response, error)
	for _, tc := range []struct {
		name    string
		part    string
		next    functions
		ranges  string // asked for, separated by commas
		want    string // the file afterwards
		resumed bool
		err     string // part of the message; "": none
	}{
		{"all at once", "", functions{answer(200, "", 10, data, io.EOF)}, "", "0123456789", false, ""},
		{"of unknown length", "", functions{answer(200, "", -1, data, io.EOF)}, "", "0123456789", false, ""},
		{"with two breaks", "", functions{
			answer(200, "", 10, data[:3], reset),
			answer(206, "bytes 3-9/10", 7, data[3:5], reset),
			answer(206, "bytes 5-9/10", 5, data[5:], io.EOF),
		}, ",bytes=3-,bytes=5-", "0123456789", false, ""},
		{"ended too early", "", functions{
			answer(200, "", 10, data[:4], io.EOF),
			answer(206, "bytes 4-9/10", 6, data[4:], io.EOF),
		}, ",bytes=4-", "0123456789", false, ""},
		{"resumed", "01234", functions{answer(206, "bytes 5-9/10", 5, data[5:], io.EOF)}, "bytes=5-", "0123456789", true, ""},
		{"resumed at a server without ranges", "0123x", functions{answer(200, "", 10, data, io.EOF)}, "bytes=5-", "0123456789", false, ""},
		{"already whole", "0123456789", functions{answer(416, "bytes */10", 0, nil, io.EOF)}, "bytes=10-", "0123456789", true, ""},
		{"a part that is too long", "0123456789ab", functions{
			answer(416, "bytes */10", 0, nil, io.EOF),
			answer(200, "", 10, data, io.EOF),
		}, "bytes=12-,", "0123456789", false, ""},
		{"a refusal of ranges without a length", "0123", functions{
			answer(416, "", 0, nil, io.EOF),
			answer(200, "", 10, data, io.EOF),
		}, "bytes=4-,", "0123456789", false, ""},
		{"refused", "", functions{refuse}, "", "", false, "connection refused"},
		{"refused after a break", "", functions{answer(200, "", 10, data[:3], reset), refuse}, ",bytes=3-", "012", false, "connection refused; 3 bytes are kept"},
		{"not found", "", functions{answer(404, "", 3, []byte("no!"), io.EOF)}, "", "", false, "was answered 404 Not Found"},
		{"not found, with a part", "01", functions{answer(404, "", 3, []byte("no!"), io.EOF)}, "bytes=2-", "01", true, "was answered 404 Not Found; 2 bytes are kept"},
		{"another range than asked for", "01", functions{answer(206, "bytes 5-9/10", 5, data[5:], io.EOF)}, "bytes=2-", "01", true, `asked for bytes from 2 on, was answered "bytes 5-9/10"`},
		{"a range without a place", "01", functions{answer(206, "", 5, data[5:], io.EOF)}, "bytes=2-", "01", true, `was answered ""`},
		{"a part of what was asked for as a whole", "", functions{answer(206, "bytes 0-9/10", 10, data, io.EOF)}, "", "", false, "was answered 206"},
		{"nothing, ended at once", "", functions{answer(200, "", 10, nil, reset)}, "", "", false, "connection reset"},
		{"a server without ranges that always breaks", "", functions{
			answer(200, "", 10, data[:4], reset), answer(200, "", 10, data[:6], reset), answer(200, "", 10, data[:3], reset),
			answer(200, "", 10, data[:5], reset), answer(200, "", 10, data[:2], reset),
		}, ",bytes=4-,bytes=6-,bytes=3-,bytes=5-", "01", false, "connection reset"},
	} {
		path := filepath.Join(t.TempDir(), "part")
		write(t, path, []byte(tc.part))
		transport := &answers{t: t, next: tc.next}
		logger, _ := quiet()
		resumed, err := download(t.Context(), path, "http://host/x", OpenOptions{Client: &http.Client{Transport: transport}, Logger: logger})
		if resumed != tc.resumed || (err == nil) != (tc.err == "") || err != nil && (!errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: download = %v, %v; want %v, %q", tc.name, resumed, err, tc.resumed, tc.err)
		}
		if got := strings.Join(transport.seen, ","); got != tc.ranges {
			t.Errorf("%s: asked for ranges %q, want %q", tc.name, got, tc.ranges)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != tc.want {
			t.Errorf("%s: file %q, %v; want %q", tc.name, got, err, tc.want)
		}
	}
}

func TestUnreachableIsDecidedWithinTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		path := filepath.Join(t.TempDir(), "part")
		client := &http.Client{Transport: &answers{t: t, next: []func(*http.Request) (*http.Response, error){hang}}}
		_, err := download(t.Context(), path, "http://host/x", OpenOptions{Client: client})
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no answer within 10s") {
			t.Errorf("download = %v, want no answer within 10s", err)
		}
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("decided after %v of the bubble's time, want 10s", d)
		}
	})
}

func TestAStalledDownloadGoesOnElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := []byte("0123456789")
		start := time.Now()
		path := filepath.Join(t.TempDir(), "part")
		transport := &answers{t: t, next: []func(*http.Request) (*http.Response, error){
			stall(200, "", data[:4]),
			answer(206, "bytes 4-9/10", 6, data[4:], io.EOF),
		}}
		if _, err := download(t.Context(), path, "http://host/x", OpenOptions{Client: &http.Client{Transport: transport}}); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != string(data) {
			t.Errorf("file %q, want %q", got, data)
		}
		if d := time.Since(start); d != stallTimeout {
			t.Errorf("took %v of the bubble's time, want %v", d, stallTimeout)
		}
	})
}

func TestAStallWithoutProgressIsUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "part")
		client := &http.Client{Transport: &answers{t: t, next: []func(*http.Request) (*http.Response, error){stall(200, "", nil)}}}
		_, err := download(t.Context(), path, "http://host/x", OpenOptions{Client: client})
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "nothing came for 20s") {
			t.Errorf("download = %v, want a stall", err)
		}
	})
}

func TestDownloadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		path := filepath.Join(t.TempDir(), "part")
		client := &http.Client{Transport: &answers{t: t, next: []func(*http.Request) (*http.Response, error){hang}}}
		failed := make(chan error)
		go func() {
			_, err := download(ctx, path, "http://host/x", OpenOptions{Client: client})
			failed <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
			t.Errorf("download = %v, want %v alone", err, context.Canceled)
		}
	})
}

func TestContentRange(t *testing.T) {
	for _, tc := range []struct {
		in        string
		from, all int64
		ok        bool
	}{
		{"bytes 5-9/10", 5, 10, true},
		{"bytes 0-0/1", 0, 1, true},
		{"bytes */10", 0, 10, true},
		{"bytes 5-9/*", 0, 0, false},
		{"bytes -9/10", 0, 10, false},
		{"bytes 5/10", 0, 0, false},
		{"items 5-9/10", 0, 0, false},
		{"bytes 5-9", 0, 0, false},
		{"bytes 5-9/-1", 0, 0, false},
		{"", 0, 0, false},
	} {
		from, all, ok := contentRange(tc.in)
		if ok != tc.ok || ok && (from != tc.from || all != tc.all) {
			t.Errorf("contentRange(%q) = %d, %d, %v; want %d, %d, %v", tc.in, from, all, ok, tc.from, tc.all, tc.ok)
		}
	}
}
