package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/model/safetensors"
	"github.com/muster-train/muster/model/topology"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// TestTorch loads what muster export writes into PyTorch by
// python/muster_torch.py and compares what both compute. One Python process
// answers for all networks, because importing PyTorch takes seconds.
func TestTorch(t *testing.T) {
	if testing.Short() {
		t.Skip("TestTorch trains every network and starts Python")
	}
	if _, err := os.Stat("../../python/muster_torch.py"); err != nil { // tells go test that a change to it needs a new run
		t.Fatal(err)
	}
	python := os.Getenv("MUSTER_PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import torch").CombinedOutput(); err != nil {
		t.Skipf("%s has no PyTorch, MUSTER_PYTHON names an interpreter that has it: import torch: %v: %s", python, err, lastLine(out))
	}
	tc := &torchTest{session: startTorch(t, python), python: python, pixels: filepath.Join(t.TempDir(), "pixels")}
	tc.draw(t)

	t.Run("networks", tc.networks)
	t.Run("every kind of window", tc.windows)
	t.Run("training goes on", tc.furtherTraining)
	lenet5 := trainAndExport(t, "--network", "lenet5")
	t.Run("a changed file shows", func(t *testing.T) { tc.planted(t, lenet5) })
	t.Run("broken files", func(t *testing.T) { tc.broken(t, lenet5) })
	t.Run("command line", func(t *testing.T) { tc.commandLine(t, lenet5) })
}

// torchTolerance is how far logits may differ, absolutely where a picture's
// are at most 1, else in parts of its largest.
const torchTolerance = 1e-5

// torchTest is what the parts of TestTorch share.
type torchTest struct {
	session  *torchSession
	python   string
	pixels   string   // file of what is on the pictures, uint8 (pictures, 3, 32, 32)
	pictures []string // PNG files
}

// draw writes one synthetic test image of each class, as pictures of 32x32 so
// that neither side scales them.
func (tc *torchTest) draw(t *testing.T) {
	test := dataset.Synthetic().Test
	var all []byte
	for i := range 10 {
		pixels := test.Image(i)
		all = append(all, pixels...)
		img := image.NewNRGBA(image.Rect(0, 0, dataset.Side, dataset.Side))
		const plane = dataset.Side * dataset.Side
		for p := range plane {
			img.SetNRGBA(p%dataset.Side, p/dataset.Side, color.NRGBA{pixels[p], pixels[plane+p], pixels[2*plane+p], 255})
		}
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(filepath.Dir(tc.pixels), fmt.Sprintf("%d.png", i))
		write(t, path, file.Bytes())
		tc.pictures = append(tc.pictures, path)
	}
	write(t, tc.pixels, all)
}

// networks compares every network, and what their switches change: as trained,
// and with random parameters, since some hardly see the picture at first.
func (tc *torchTest) networks(t *testing.T) {
	more := map[string][]string{
		"alexnet-tf":    {"--input-size", "64"}, // quick, and padded by 3 before and 4 after
		"alexnet-2012":  {"--input-size", "67"},
		"alexnet-cifar": {"--lr", "0.01"}, // its own is for larger batches
	}
	var cases [][]string
	for _, name := range model.Names() {
		cases = append(cases, append([]string{"--network", name}, more[name]...))
	}
	cases = append(cases,
		[]string{"--network", "alexnet-2012", "--input-size", "83", "--lrn-order", "paper", "--classes", "12"},
		[]string{"--network", "lenet5", "--activation", "leaky-relu"},
		[]string{"--network", "lenet5", "--activation", "softplus"},
	)
	for _, flags := range cases {
		t.Run(strings.ReplaceAll(strings.Join(flags[1:], " "), "--", ""), func(t *testing.T) {
			file := trainAndExport(t, flags...)
			tc.compare(t, file)
			tc.compareRandom(t, file)
		})
	}
}

// trainAndExport trains a few steps and returns what muster export writes.
func trainAndExport(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	muster(t, append([]string{
		"train", "--data", data, "--shards", "1", "--batch", "2", "--epochs", "1", "--limit-batches", "2", "--checkpoint-dir", dir,
	}, flags...)...)
	return export(t, dir)
}

// export returns the file of a checkpoint.
func export(t *testing.T, checkpoint string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "exported.safetensors")
	muster(t, "export", "--checkpoint", checkpoint, "--output", file)
	return file
}

// muster runs the program and returns what it prints.
func muster(t *testing.T, args ...string) []byte {
	t.Helper()
	p := start(t, "muster", args...)
	if s := p.status(); s != 0 {
		t.Fatalf("muster %s ended with status %d", strings.Join(args, " "), s)
	}
	return p.out.Bytes()
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// logits returns (pictures, classes) as muster predict gives them.
func (tc *torchTest) logits(t *testing.T, file string) [][]float64 {
	t.Helper()
	var all [][]float64
	printed := muster(t, append([]string{"predict", "--parameters", file, "--json", "--top", "65536"}, tc.pictures...)...)
	lines := json.NewDecoder(bytes.NewReader(printed))
	for range tc.pictures {
		var line struct {
			Predictions []struct {
				Index *int
				Logit *float64
			}
		}
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		row := make([]float64, len(line.Predictions))
		for _, p := range line.Predictions {
			if p.Index == nil || p.Logit == nil {
				t.Fatal("a prediction lacks its index or its logit")
			}
			row[*p.Index] = *p.Logit
		}
		all = append(all, row)
	}
	return all
}

// answer is what the Python process says of a file.
type answer struct {
	Error        string
	Training     bool        // the mode in which load leaves the module
	Keys         []string    // of state_dict
	Logits       [][]float64 // (pictures, classes)
	Dropouts     []torchDropout
	WithoutGrads []string // parameters that training gives no finite gradient
}

// torchDropout is what a dropout does to an input whose values are all 3.
type torchDropout struct {
	Name     string
	Training []float64 // different values, ascending
	Kept     float64   // share of those that are not 0
	Testing  []float64
}

// compare checks the module of a file against Muster's predictions from it.
func (tc *torchTest) compare(t *testing.T, file string) difference {
	t.Helper()
	var a answer
	tc.session.ask(t, map[string]any{"do": "examine", "file": file, "pixels": tc.pixels}, &a)
	if a.Error != "" {
		t.Fatal(a.Error)
	}
	exported, err := safetensors.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(a.Keys)
	if names := exported.Names(); !slices.Equal(a.Keys, names) {
		t.Errorf("the module's state has %v, the file %v", a.Keys, names)
	}
	if a.Training {
		t.Error("load leaves the module in training mode")
	}
	if len(a.WithoutGrads) > 0 {
		t.Errorf("training gives %v no finite gradient", a.WithoutGrads)
	}
	about, err := topology.Parse([]byte(exported.Metadata["topology"]))
	if err != nil {
		t.Fatal(err)
	}
	checkDropouts(t, about, a.Dropouts)

	want := tc.logits(t, file)
	d := worstLogit(a.Logits, want)
	t.Logf("worst difference of logits %.1e, %.3f of the tolerance; the largest logit is %.3g, one class's are %.3g apart",
		d.worst, d.parts, d.largest, d.apart)
	if !(d.parts <= 1) {
		t.Errorf("picture %d, class %d: PyTorch has %v, Muster %v", d.picture, d.class, a.Logits[d.picture][d.class], want[d.picture][d.class])
	}
	return d
}

// compareRandom compares the network of a file with random parameters, the
// last layer's such that the largest logit is 1 and the tolerance means what it says.
func (tc *torchTest) compareRandom(t *testing.T, file string) {
	t.Helper()
	exported, err := safetensors.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	about, err := topology.Parse([]byte(exported.Metadata["topology"]))
	if err != nil {
		t.Fatal(err)
	}
	net, err := topology.Build(about)
	if err != nil {
		t.Fatal(err)
	}
	random := filepath.Join(t.TempDir(), "random.safetensors")
	writeRandom(t, random, net.Layout, exported.Metadata, 1)
	largest := 0.0
	for _, row := range tc.logits(t, random) {
		largest = max(largest, slices.Max(row), -slices.Min(row))
	}
	writeRandom(t, random, net.Layout, exported.Metadata, 1/largest)
	if d := tc.compare(t, random); d.apart < 0.1 {
		t.Errorf("pictures change logits by %v at most, of %v: comparing them shows little", d.apart, d.largest)
	}
}

// writeRandom writes parameters with which activations keep their size, and
// biases small enough for pictures to count. The last layer's are multiplied by last.
func writeRandom(t *testing.T, path string, layout *params.Layout, metadata map[string]string, last float64) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, layout.Size())
	for i, p := range layout.Tensors() {
		deviation := 0.01
		if len(p.Shape) > 1 {
			deviation = math.Sqrt(2 / float64(p.Range.Len()/p.Shape[0]))
		}
		if i >= len(layout.Tensors())-2 {
			deviation *= last
		}
		for j := range p.Range.Of(values) {
			values[p.Range.First+j] = float32(random.NormFloat64() * deviation)
		}
	}
	var file bytes.Buffer
	if err := safetensors.Write(&file, layout, values, metadata); err != nil {
		t.Fatal(err)
	}
	write(t, path, file.Bytes())
}

// checkDropouts checks the form of every dropout against the topology.
func checkDropouts(t *testing.T, about *musterv1.Topology, got []torchDropout) {
	t.Helper()
	for _, l := range about.Layers {
		k, ok := l.Kind.(*musterv1.TopologyLayer_Dropout)
		if !ok {
			continue
		}
		if len(got) == 0 || got[0].Name != l.Name {
			t.Errorf("the module lacks %s, or has it elsewhere", l.Name)
			return
		}
		g := got[0]
		got = got[1:]
		p := float64(k.Dropout.P)
		training, testing := 3.0, 3*(1-p)
		if k.Dropout.Inverted {
			training, testing = 3/(1-p), 3.0
		}
		if len(g.Training) != 2 || g.Training[0] != 0 || math.Abs(g.Training[1]-training) > 1e-5 {
			t.Errorf("%s makes %v of 3 in training, want 0 and %v", l.Name, g.Training, training)
		}
		if math.Abs(g.Kept-(1-p)) > 0.01 { // six deviations
			t.Errorf("%s keeps %v in training, want %v", l.Name, g.Kept, 1-p)
		}
		if len(g.Testing) != 1 || math.Abs(g.Testing[0]-testing) > 1e-5 {
			t.Errorf("%s makes %v of 3 in testing, want %v", l.Name, g.Testing, testing)
		}
	}
	if len(got) != 0 {
		t.Errorf("the module has dropouts that the topology lacks: %v", got)
	}
}

// difference is where two sets of logits differ most, in parts of the tolerance.
type difference struct {
	picture, class int
	worst, parts   float64
	largest        float64 // of all logits, without sign
	apart          float64 // what pictures change of a class's logit at most
}

// worstLogit compares (pictures, classes). Other shapes, and NaN, are infinitely far away.
func worstLogit(got, want [][]float64) difference {
	d := difference{parts: math.Inf(-1)}
	if len(got) != len(want) {
		return difference{parts: math.Inf(1)}
	}
	for i, row := range want {
		if len(got[i]) != len(row) || len(row) == 0 {
			return difference{picture: i, parts: math.Inf(1)}
		}
		size := max(slices.Max(row), -slices.Min(row))
		d.largest = max(d.largest, size)
		for c, w := range row {
			d.apart = max(d.apart, math.Abs(w-want[0][c]))
			far := math.Abs(got[i][c] - w)
			if parts := far / (torchTolerance * max(1, size)); parts > d.parts || math.IsNaN(parts) {
				d.picture, d.class, d.worst, d.parts = i, c, far, parts
			}
		}
	}
	return d
}
