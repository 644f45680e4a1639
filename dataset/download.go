package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// answerTimeout bounds the time from a request to the header of its answer,
	// names, connections and redirects included.
	answerTimeout = 10 * time.Second
	// stallTimeout bounds the time between two reads of an answer's body.
	stallTimeout = 20 * time.Second
	// archiveLimit bounds what is downloaded, whatever the other side sends.
	archiveLimit = 1 << 30
	// maxAttempts bounds the requests of one download, maxRestarts those of them
	// that had to begin anew, since a server without ranges could make us go on
	// for ever.
	maxAttempts = 100
	maxRestarts = 3
)

var (
	errNoAnswer = fmt.Errorf("no answer within %v", answerTimeout)
	errStalled  = fmt.Errorf("nothing came for %v", stallTimeout)
)

// checkURL refuses addresses that can't be downloaded from.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("address %q: must begin with http:// or https:// and name a host", address)
	}
	return nil
}

// download makes path the whole of what is at address, going on where an
// earlier attempt ended, and again whenever the connection breaks after it
// brought something. It tells whether an earlier attempt's bytes are in it.
func download(ctx context.Context, path, address string, o OpenOptions) (resumed bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return false, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	client := o.Client
	if client == nil {
		client = &http.Client{}
		defer client.CloseIdleConnections()
	}
	t := transfer{client: client, address: address, file: f, progress: o.Progress}
	if t.done, err = f.Seek(0, io.SeekEnd); err != nil {
		return false, err
	}
	if t.done > 0 {
		o.logger().Info("resuming the download of CIFAR-10", "at", t.done)
	}
	resumed = t.done > 0
	for attempt := 1; ; attempt++ {
		before, restarts := t.done, t.restarts
		whole, err := t.attempt(ctx)
		resumed = resumed && t.restarts == 0
		switch {
		case whole:
			return resumed, f.Sync()
		case ctx.Err() != nil:
			return resumed, context.Cause(ctx)
		case err != nil && !errors.Is(err, ErrUnreachable):
			return resumed, err
		case t.done <= before && t.restarts == restarts || t.restarts > maxRestarts || attempt == maxAttempts:
			if t.done > 0 && t.restarts == 0 {
				err = fmt.Errorf("%w; %d bytes are kept and the next attempt goes on from there", err, t.done)
			}
			return resumed, err
		}
	}
}

// transfer is one download over several requests.
type transfer struct {
	client   *http.Client
	address  string
	file     *os.File
	done     int64 // bytes in file
	restarts int   // attempts that had to begin anew
	progress func(done, total int64)
}

// attempt makes one request for what is missing and writes what comes. It
// returns whether the file is whole now, and if not, why: ErrUnreachable where
// another attempt may help.
func (t *transfer) attempt(ctx context.Context) (whole bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(answerTimeout, func() { cancel(errNoAnswer) })
	defer watch.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.address, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept-Encoding", "identity") // offsets are those of the file itself
	if t.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.done))
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return false, unreachable(ctx, err)
	}
	defer resp.Body.Close()
	watch.Stop()

	total := int64(-1)
	switch {
	case resp.StatusCode == http.StatusOK:
		if t.done > 0 { // a server without ranges sends all of it
			if err := t.restart(); err != nil {
				return false, err
			}
		}
		total = resp.ContentLength
	case resp.StatusCode == http.StatusPartialContent && t.done > 0:
		from, all, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != t.done {
			return false, fmt.Errorf("%w: asked for bytes from %d on, was answered %q", ErrUnreachable, t.done, resp.Header.Get("Content-Range"))
		}
		total = all
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && t.done > 0:
		if _, all, ok := contentRange(resp.Header.Get("Content-Range")); ok && all == t.done {
			return true, nil
		}
		at := t.done
		if err := t.restart(); err != nil {
			return false, err
		}
		return false, fmt.Errorf("%w: has no byte %d to go on from", ErrUnreachable, at)
	default:
		return false, fmt.Errorf("%w: was answered %s", ErrUnreachable, resp.Status)
	}
	return t.receive(ctx, resp.Body, total, cancel)
}

// receive writes a body of an answer to the file's end.
func (t *transfer) receive(ctx context.Context, body io.Reader, total int64, cancel context.CancelCauseFunc) (bool, error) {
	watch := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	defer watch.Stop()
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			watch.Reset(stallTimeout)
			if _, werr := t.file.WriteAt(buf[:n], t.done); werr != nil {
				return false, werr
			}
			if t.done += int64(n); t.done > archiveLimit {
				return false, corrupt(t.file.Name(), archiveLimit, "expected the end of the archive, found more")
			}
			if t.progress != nil {
				t.progress(t.done, total)
			}
		}
		switch {
		case err == io.EOF && (total < 0 || t.done == total):
			return true, nil
		case err == io.EOF:
			return false, fmt.Errorf("%w: connection ended at byte %d of %d", ErrUnreachable, t.done, total)
		case err != nil:
			return false, unreachable(ctx, err)
		}
	}
}

// restart empties the file.
func (t *transfer) restart() error {
	t.restarts++
	t.done = 0
	return t.file.Truncate(0)
}

// unreachable makes an error of a failed request; the reason for which we gave
// it up ourselves tells more than its consequence.
func unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errNoAnswer) || errors.Is(cause, errStalled) {
		err = cause
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// contentRange reads "bytes 5-9/10" and "bytes */10": the first byte, 0 if there
// is none, and the length of all.
func contentRange(text string) (from, all int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, length, cut := strings.Cut(text, "/")
	if !ok || !cut {
		return 0, 0, false
	}
	all, err := strconv.ParseInt(length, 10, 64)
	if err != nil || all < 0 {
		return 0, 0, false
	}
	if span == "*" {
		return 0, all, true
	}
	first, _, cut := strings.Cut(span, "-")
	from, err = strconv.ParseInt(first, 10, 64)
	return from, all, cut && err == nil && from >= 0
}
