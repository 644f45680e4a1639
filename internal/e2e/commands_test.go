package e2e

import (
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same file file")
	}
	var hashes [2]string
	for i, name := range args {
		m := hashLine.FindStringSubmatch(ts.ReadFile(name))
		if m == nil {
			ts.Fatalf("%s holds no hash", name)
		}
		hashes[i] = m[1]
	}
	if (hashes[0] == hashes[1]) == neg {
		ts.Fatalf("%s has %s, %s has %s", args[0], hashes[0], args[1], hashes[1])
	}
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip file offset")
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	if at >= len(data) {
		ts.Fatalf("%s has %d bytes", args[0], len(data))
	}
	data[at] ^= 1
	ts.Check(os.WriteFile(path, data, 0o644))
}

func contains(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: contains file file")
	}
	m := hashLine.FindStringSubmatch(ts.ReadFile(args[1]))
	if m == nil {
		ts.Fatalf("%s holds no hash", args[1])
	}
	if strings.Contains(ts.ReadFile(args[0]), m[1]) == neg {
		ts.Fatalf("%s and the hash %s of %s", args[0], m[1], args[1])
	}
}

func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt text program [args...]")
	}
	// What is said goes to a file, where it can be looked at while the program runs.
	said := filepath.Join(ts.Getenv("WORK"), ".interrupt")
	file, err := os.Create(said)
	ts.Check(err)
	defer file.Close()
	cmd := exec.Command(filepath.Join(programs, args[1]), args[2:]...)
	cmd.Dir, cmd.Stderr = ts.Getenv("WORK"), file
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "MUSTER_DATA", "PATH"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	patience := time.After(limit)
	for heard := false; ; {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 3 {
				text, _ := os.ReadFile(said)
				ts.Fatalf("ended with %v, want exit status 3:\n%s", err, text)
			}
			ts.Check(ts.Exec("sh", "-c", "cat .interrupt >&2"))
			return
		case <-look.C:
			if text, _ := os.ReadFile(said); !heard && strings.Contains(string(text), args[0]) {
				heard = true
				ts.Check(cmd.Process.Signal(os.Interrupt))
			}
		case <-patience:
			_ = cmd.Process.Kill() // it may have ended just now
			ts.Fatalf("not ended after %v", limit)
		}
	}
}

// ask asks the server at an address how its job stands, until that is as is wanted.
func ask(ts *testscript.TestScript, address string, is func(*musterv1.StatusResponse) bool) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ts.Check(err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		s, err := musterv1.NewMusterServiceClient(conn).Status(ctx, &musterv1.StatusRequest{}, grpc.WaitForReady(true))
		if err == nil && is(s) {
			return
		}
		if ctx.Err() != nil {
			ts.Fatalf("%s did not come so far within %v: %v", address, limit, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func reachStep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reach address step")
	}
	step, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	ask(ts, args[0], func(s *musterv1.StatusResponse) bool { return s.Step >= step })
}

func followed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: follow address")
	}
	ask(ts, args[0], func(s *musterv1.StatusResponse) bool { return len(s.Standbys) > 0 })
}

func picture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: picture file.gif")
	}
	img := image.NewPaletted(image.Rect(0, 0, 48, 64), color.Palette{color.RGBA{200, 30, 30, 255}, color.RGBA{20, 60, 220, 255}})
	for i := range img.Pix {
		img.Pix[i] = uint8((i%48/8 + i/48/8) % 2)
	}
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(gif.Encode(file, img, nil))
	ts.Check(file.Close())
}
