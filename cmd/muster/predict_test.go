package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// predicted is a line of `muster predict --json`.
type predicted struct {
	File        string
	Predictions []struct {
		Class              string
		Index              int
		Probability, Logit float64
	}
	Network, Channels string
	Step              *int
	Synthetic         bool
}

// logits are those of a line by class.
func (p predicted) logits() map[string]float64 {
	all := map[string]float64{}
	for _, c := range p.Predictions {
		all[c.Class] = c.Logit
	}
	return all
}

// predicts runs muster predict --json and decodes its lines.
func predicts(t *testing.T, args ...string) []predicted {
	t.Helper()
	status, stdout, stderr := muster(t.Context(), append([]string{"predict", "--json", "--threads", "1", "--log-level", "error"}, args...)...)
	if status != settings.StatusDone {
		t.Fatalf("muster predict %q ended with status %d\n%s", args, status, stderr)
	}
	var all []predicted
	for lines := json.NewDecoder(strings.NewReader(stdout)); lines.More(); {
		var p predicted
		if err := lines.Decode(&p); err != nil {
			t.Fatalf("%v in %s", err, stdout)
		}
		all = append(all, p)
	}
	return all
}

// trainedJob trains a small network and returns the directory of its checkpoints,
// and that of the images.
func trainedJob(t *testing.T) (dir, data string) {
	t.Helper()
	data, dir = images(t, 0), filepath.Join(folder(t), "job")
	if status, _, stderr := muster(t.Context(), job(dir, data)...); status != settings.StatusDone {
		t.Fatalf("training ended with status %d\n%s", status, stderr)
	}
	return dir, data
}

// testPictures writes the first n test images of data as PNG files.
func testPictures(t *testing.T, data string, n int) []string {
	t.Helper()
	set, err := dataset.Open(t.Context(), data, dataset.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range n {
		pixels := set.Test.Image(i)
		img := image.NewRGBA(image.Rect(0, 0, dataset.Side, dataset.Side))
		for p := range dataset.Side * dataset.Side {
			img.Set(p%dataset.Side, p/dataset.Side, color.RGBA{pixels[p], pixels[p+1024], pixels[p+2048], 255})
		}
		name := filepath.Join(t.TempDir(), fmt.Sprintf("%d.png", i))
		write(t, name, func(b *bytes.Buffer) error { return png.Encode(b, img) })
		names = append(names, name)
	}
	return names
}

func write(t *testing.T, name string, encode func(*bytes.Buffer) error) {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPredictAgreesWithEvaluate classifies every test image as a picture, more
// than a batch of them, and counts the same as an evaluation does.
func TestPredictAgreesWithEvaluate(t *testing.T) {
	dir, data := trainedJob(t)
	var e evaluated
	prints(t, &e, "evaluate", "--checkpoint", dir, "--data", data, "--json", "--log-level", "error")
	names := testPictures(t, data, 150)
	all := predicts(t, append([]string{"--checkpoint", dir}, names...)...)
	if len(all) != len(names) {
		t.Fatalf("%d lines of %d pictures", len(all), len(names))
	}
	set, err := dataset.Open(t.Context(), data, dataset.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	confusion := map[string]map[string]int{}
	for i, p := range all {
		if p.File != names[i] || len(p.Predictions) != 5 || p.Network != "lenet5" || p.Channels != "rgb" || *p.Step != 6 || p.Synthetic {
			t.Fatalf("picture %d: %+v", i, p)
		}
		class := set.Classes[set.Test.Labels[i]]
		if confusion[class] == nil {
			confusion[class] = map[string]int{}
		}
		confusion[class][p.Predictions[0].Class]++
	}
	for _, c := range e.Classes {
		for taken, n := range c.Confusion {
			if got := confusion[c.Class][taken]; got != n {
				t.Errorf("%s taken for %s %d times, evaluate says %d", c.Class, taken, got, n)
			}
		}
	}
	// Alone or among others, one thread or two: the same bits.
	alone := predicts(t, "--checkpoint", dir, "--threads", "2", names[77])
	if got, want := fmt.Sprint(alone[0].Predictions), fmt.Sprint(all[77].Predictions); got != want {
		t.Errorf("alone %s, among others %s", got, want)
	}
}

// TestPredictNeedsTopologyAndParametersAlone takes both away from where they were
// written, and asks in every way there is.
func TestPredictNeedsTopologyAndParametersAlone(t *testing.T) {
	dir, data := trainedJob(t)
	name := testPictures(t, data, 1)[0]
	want := predicts(t, "--checkpoint", dir, "--which", "best", "--top", "10", name)[0]
	sum := 0.0
	for i, p := range want.Predictions {
		sum += p.Probability
		if i > 0 && p.Probability > want.Predictions[i-1].Probability {
			t.Errorf("%v is out of order", want.Predictions)
		}
		// Probabilities are the softmax of logits.
		if first := want.Predictions[0]; math.Abs(math.Log(p.Probability/first.Probability)-(p.Logit-first.Logit)) > 1e-5 {
			t.Errorf("probability %v of logit %v beside %v of %v", p.Probability, p.Logit, first.Probability, first.Logit)
		}
	}
	if math.Abs(sum-1) > 1e-5 || len(want.Predictions) != 10 {
		t.Errorf("%d probabilities add up to %v", len(want.Predictions), sum)
	}

	elsewhere := t.TempDir()
	for _, file := range []string{"best.ckpt", "topology.pb", "topology.json"} {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(elsewhere, "a-"+file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(file string) string { return filepath.Join(elsewhere, file) }
	for _, args := range [][]string{{"-o", at("net.safetensors")}, {"--format", "topology", "-o", at("net.json")}} {
		if status, _, stderr := muster(t.Context(), append([]string{"export", "--checkpoint", dir, "--which", "best"}, args...)...); status != settings.StatusDone {
			t.Fatalf("export %q: status %d, %s", args, status, stderr)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--topology", at("a-topology.pb"), "--parameters", at("a-best.ckpt")},
		{"--topology", at("a-topology.json"), "--parameters", at("a-best.ckpt")},
		{"--topology", at("net.json"), "--checkpoint", at("a-best.ckpt")},
		{"--parameters", at("net.safetensors")},
		{"--parameters", at("net.safetensors"), "--topology", at("a-topology.pb")},
	} {
		got := predicts(t, append(args, "--top", "10", name)...)[0]
		if fmt.Sprint(got.Predictions) != fmt.Sprint(want.Predictions) || got.Step == nil || *got.Step != *want.Step {
			t.Errorf("%q: %v of step %v, want %v of step %d", args, got.Predictions, got.Step, want.Predictions, *want.Step)
		}
	}
	// Without a topology there is no network.
	status, _, stderr := muster(t.Context(), "predict", "--checkpoint", at("a-best.ckpt"), name)
	if status != settings.StatusUsage || !oneLine(stderr) || !strings.Contains(stderr, "--topology") {
		t.Errorf("without a topology: status %d, %q", status, stderr)
	}
}

func TestPredictReadsEveryFormatAndStandardInput(t *testing.T) {
	dir, _ := trainedJob(t)
	at := func(file string) string { return filepath.Join(t.TempDir(), file) }
	original := at("a.png")
	img := image.NewRGBA(image.Rect(0, 0, 32, 32)) // smooth, so that JPEG and GIF keep most of it
	for x := range 32 {
		for y := range 32 {
			img.Set(x, y, color.RGBA{uint8(7 * x), uint8(7 * y), uint8(3*x + 3*y), 255})
		}
	}
	write(t, original, func(b *bytes.Buffer) error { return png.Encode(b, img) })
	content, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	// As a wide picture of which it is the centre.
	wide := image.NewRGBA(image.Rect(0, 0, 100, 32))
	for x := range 32 {
		for y := range 32 {
			wide.Set(34+x, y, img.At(x, y))
		}
	}
	wideName, jpegName, gifName, large := at("wide.png"), at("a.jpeg"), at("a.gif"), at("large.png")
	write(t, wideName, func(b *bytes.Buffer) error { return png.Encode(b, wide) })
	write(t, jpegName, func(b *bytes.Buffer) error { return jpeg.Encode(b, img, &jpeg.Options{Quality: 100}) })
	write(t, gifName, func(b *bytes.Buffer) error { return gif.Encode(b, img, nil) })
	write(t, large, func(b *bytes.Buffer) error { return png.Encode(b, image.NewGray(image.Rect(0, 0, 640, 480))) })

	all := predicts(t, "--checkpoint", dir, "--top", "10", original, wideName, jpegName, gifName, large)
	want := all[0].logits()
	for i, within := range []float64{0, 0, 0.05, 0.2} { // of JPEG's rounding, GIF's palette
		for class, z := range all[i].logits() {
			if math.Abs(z-want[class]) > within {
				t.Errorf("%s: logit %v of %s, of the original %v", all[i].File, z, class, want[class])
			}
		}
	}

	// The same by standard input, where a file is another's.
	cmd := root()
	var out bytes.Buffer
	cmd.SetIn(bytes.NewReader(content))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs([]string{"predict", "--json", "--checkpoint", dir, "--top", "10", "-"})
	var p predicted
	if status := settings.Main(t.Context(), cmd); status != settings.StatusDone || json.Unmarshal(out.Bytes(), &p) != nil || p.File != "-" || fmt.Sprint(p.logits()) != fmt.Sprint(want) {
		t.Errorf("by standard input: status %d, %s", status, out.String())
	}
}

// TestChannelsCanBeReversed swaps them in the picture instead.
func TestChannelsCanBeReversed(t *testing.T) {
	dir, _ := trainedJob(t)
	picture := func(red, blue uint8) string {
		img := image.NewRGBA(image.Rect(0, 0, 32, 32))
		for i := range 32 * 32 {
			img.Set(i%32, i/32, color.RGBA{red + uint8(i%32), uint8(i / 8), blue + uint8(i%32), 255})
		}
		name := filepath.Join(t.TempDir(), "x.png")
		write(t, name, func(b *bytes.Buffer) error { return png.Encode(b, img) })
		return name
	}
	one, other := picture(10, 200), picture(200, 10)
	plain := predicts(t, "--checkpoint", dir, one, other)
	reversed := predicts(t, "--checkpoint", dir, "--channels", "bgr", one, other)
	if fmt.Sprint(plain[0].Predictions) != fmt.Sprint(reversed[1].Predictions) || fmt.Sprint(plain[0].Predictions) == fmt.Sprint(plain[1].Predictions) {
		t.Errorf("plain %v, reversed %v", plain, reversed)
	}
	if reversed[0].Channels != "bgr" {
		t.Errorf("channels %q", reversed[0].Channels)
	}
}

// TestPredictGoesOnAfterAFileThatIsNoPicture names those that are none and
// classifies the others.
func TestPredictGoesOnAfterAFileThatIsNoPicture(t *testing.T) {
	dir, data := trainedJob(t)
	good := testPictures(t, data, 2)
	text := filepath.Join(t.TempDir(), "text.png")
	write(t, text, func(b *bytes.Buffer) error { _, err := b.WriteString("no picture"); return err })
	status, stdout, stderr := muster(t.Context(), "predict", "--checkpoint", dir, good[0], text, "missing.png", good[1])
	if status != settings.StatusUsage || !oneLine(stderr) || !strings.Contains(stderr, text+": not a JPEG, PNG, GIF or WebP picture") || !strings.Contains(stderr, "missing.png: no such file") {
		t.Errorf("status %d, %q", status, stderr)
	}
	lines := strings.Split(stdout, "\n")
	heads := slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return strings.HasPrefix(s, " ") || s == "" })
	if !slices.Equal(heads, good) || len(lines) != 2*6+1 {
		t.Errorf("printed %q", stdout)
	}
}

func TestPredictRefusesWrongUse(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"which picture?", nil},
		{"--top 0: at least 1", []string{"--top", "0", "x.png"}},
		{"allowed are rgb, bgr", []string{"--channels", "grb", "x.png"}},
		{"exclude each other", []string{"--parameters", "p", "--checkpoint", "c", "x.png"}},
		{"muster-default", []string{"x.png"}},
		{"p.safetensors: no such file", []string{"--parameters", "p.safetensors", "x.png"}},
		{"p.ckpt: no such file", []string{"--parameters", "p.ckpt", "x.png"}},
	} {
		status, stdout, stderr := muster(t.Context(), append([]string{"predict"}, tc.args...)...)
		if status != settings.StatusUsage || stdout != "" || !strings.HasPrefix(stderr, "muster: ") || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, %q; want %q", tc.args, status, stderr, tc.want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, tc := range []struct {
		share float64
		want  string
	}{{0, ""}, {1, strings.Repeat("█", 40)}, {0.5, strings.Repeat("█", 20)}, {1. / 320, "▏"}, {7. / 320, "▉"}, {9. / 320, "█▏"}, {math.NaN(), ""}} {
		if got := bar(tc.share); got != tc.want {
			t.Errorf("bar(%v) is %q, want %q", tc.share, got, tc.want)
		}
	}
}

// TestPredictRefusesAnotherNetworksTopology: of networks whose tensors have the
// same names and shapes, the layout says nothing.
func TestPredictRefusesAnotherNetworksTopology(t *testing.T) {
	dir, data := trainedJob(t)
	other := filepath.Join(folder(t), "other")
	if status, _, stderr := muster(t.Context(), append(job(other, data), "--activation", "softplus")...); status != settings.StatusDone {
		t.Fatalf("training: %d, %s", status, stderr)
	}
	name := testPictures(t, data, 1)[0]
	status, stdout, stderr := muster(t.Context(), "predict", "--checkpoint", dir, "--topology", other, name)
	if status != settings.StatusUsage || stdout != "" || !strings.Contains(stderr, "its activation is softplus, the checkpoint's relu") {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	status, _, stderr = muster(t.Context(), "predict", "--checkpoint", filepath.Join(dir, "best.ckpt"), "--which", "best", name)
	if status != settings.StatusUsage || !strings.Contains(stderr, "is one checkpoint, not a directory of them") {
		t.Errorf("--which of a file: status %d, %q", status, stderr)
	}
}

// TestADivergedNetworkSaysSo instead of showing probabilities that are none.
func TestADivergedNetworkSaysSo(t *testing.T) {
	dir, data := trainedJob(t)
	path := change(t, dir, func(s *checkpoint.State) { s.Parameters[len(s.Parameters)-1] = float32(math.NaN()) })
	name := testPictures(t, data, 1)[0]
	status, stdout, stderr := muster(t.Context(), "predict", "--topology", dir, "--parameters", path, name)
	if status != settings.StatusDone || stdout != name+"\n  the network's outputs are not numbers: its training has diverged\n" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
}

// TestInterruptEndsPredict while standard input has nothing to say.
func TestInterruptEndsPredict(t *testing.T) {
	dir, _ := trainedJob(t)
	silent, end := io.Pipe()
	defer end.Close()
	ctx, stop := context.WithCancel(t.Context())
	cmd := root()
	var out bytes.Buffer
	cmd.SetIn(reading{silent, stop})
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs([]string{"predict", "--checkpoint", dir, "-"})
	if status := settings.Main(ctx, cmd); status != settings.StatusFault {
		t.Errorf("status %d, %s", status, out.String())
	}
}

// reading calls began when it is first read.
type reading struct {
	io.Reader
	began func()
}

func (r reading) Read(p []byte) (int, error) {
	r.began()
	return r.Reader.Read(p)
}
