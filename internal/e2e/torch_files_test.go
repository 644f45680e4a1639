package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/dataset"
)

// furtherTraining lets PyTorch make the step from a first checkpoint to the
// second: the batch is the whole training set, in whatever order.
func (tc *torchTest) furtherTraining(t *testing.T) {
	dir := t.TempDir()
	muster(t, "train", "--network", "lenet5", "--data", data, "--shards", "1", "--batch", fmt.Sprint(trainImages), "--epochs", "2", "--augment", "none",
		"--lr", "0.1", "--momentum", "0", "--weight-decay", "0.01", "--schedule", "constant", "--checkpoint-dir", dir)
	before, after := export(t, filepath.Join(dir, "step-0000000001.ckpt")), export(t, filepath.Join(dir, "step-0000000002.ckpt"))
	set := dataset.Synthetic().Train
	pixels := filepath.Join(dir, "pixels")
	write(t, pixels, set.Pixels[:trainImages*dataset.PixelBytes])
	var labels []int
	for _, l := range set.Labels[:trainImages] {
		labels = append(labels, int(l))
	}
	var a struct {
		Error           string
		Worst, Smallest float64 // difference after the step; the largest change of the tensor that the step changes least
	}
	tc.session.ask(t, map[string]any{"do": "step", "file": before, "after": after, "pixels": pixels, "labels": labels, "lr": 0.1, "decay": 0.01}, &a)
	if a.Error != "" {
		t.Fatal(a.Error)
	}
	t.Logf("worst difference of a parameter %.1e, every tensor is changed by %.1e or more", a.Worst, a.Smallest)
	if !(a.Worst <= 1e-6) || a.Smallest < 1e-4 {
		t.Errorf("worst difference %v, want at most 1e-6; least change %v, want at least 1e-4", a.Worst, a.Smallest)
	}
}

// planted changes one weight in a file: the comparison must see it.
func (tc *torchTest) planted(t *testing.T, file string) {
	want := tc.logits(t, file)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first := content[8+binary.LittleEndian.Uint64(content):]
	w := math.Float32frombits(binary.LittleEndian.Uint32(first))
	binary.LittleEndian.PutUint32(first, math.Float32bits(w+0.01))
	changed := filepath.Join(t.TempDir(), "changed.safetensors")
	write(t, changed, content)
	for _, f := range []struct {
		file string
		same bool
	}{{file, true}, {changed, false}} {
		var a answer
		tc.session.ask(t, map[string]any{"do": "examine", "file": f.file, "pixels": tc.pixels}, &a)
		d := worstLogit(a.Logits, want)
		t.Logf("worst difference of logits %.1e", d.worst)
		if (d.parts <= 1) != f.same {
			t.Errorf("%s: logits differ by %v, %v of the tolerance; want the same: %v", f.file, d.worst, d.parts, f.same)
		}
	}
}

// broken checks that files which are not what muster export writes are named
// and told apart, in one sentence.
func (tc *torchTest) broken(t *testing.T, file string) {
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	header := func(edit func(map[string]any)) []byte {
		n := binary.LittleEndian.Uint64(whole)
		var h map[string]any
		if err := json.Unmarshal(whole[8:8+n], &h); err != nil {
			t.Fatal(err)
		}
		edit(h)
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, bytes.Repeat([]byte(" "), (8-len(text)%8)%8)...)
		return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, whole[8+n:])
	}
	about := func(from, to string) []byte {
		return header(func(h map[string]any) {
			m := h["__metadata__"].(map[string]any)
			was := m["topology"].(string)
			m["topology"] = strings.Replace(was, from, to, 1)
			if m["topology"] == was {
				t.Fatalf("the topology has no %s", from)
			}
		})
	}
	bias := func(h map[string]any) map[string]any { return h["fc5.bias"].(map[string]any) }
	weight := func(h map[string]any) map[string]any { return h["fc5.weight"].(map[string]any) }
	for _, c := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"text", []byte("This is no file of tensors.\n"), "not a whole safetensors file"},
		{"empty", nil, "not a whole safetensors file"},
		{"header cut", whole[:100], "not a whole safetensors file"},
		{"values cut", whole[:len(whole)-1], "not a whole safetensors file: tensor fc5.bias"},
		{"header no JSON", slices.Concat(whole[:8], []byte("?"), whole[9:]), "not a whole safetensors file"},
		{"of halves", header(func(h map[string]any) { bias(h)["dtype"] = "F16" }), "tensor fc5.bias is not float32"},
		{"no metadata", header(func(h map[string]any) { delete(h, "__metadata__") }), "it holds no topology"},
		{"no topology", header(func(h map[string]any) { h["__metadata__"] = map[string]string{"format": "pt"} }), "it holds no topology"},
		{"topology no JSON", about("{", "("), "Expecting value"},
		{"version", about(`"version": 1`, `"version": 7`), "topology version 7 is not known"},
		{"activation", about(`"kind": "relu"`, `"kind": "gelu"`), "topology is not understood: KeyError('gelu')"},
		{"pooling", about(`"kind": "max"`, `"kind": "median"`), "pooling median is unknown"},
		{"kind of layer", about(`"conv": {`, `"attention": {`), "topology is not understood"},
		{"tensor missing", header(func(h map[string]any) { h["fc9.bias"] = bias(h); delete(h, "fc5.bias") }), "tensor fc5.bias is missing"},
		{"tensor too many", header(func(h map[string]any) { h["fc9.bias"] = bias(h) }), "tensor fc9.bias belongs to no layer"},
		{"shape", header(func(h map[string]any) { weight(h)["shape"] = []int{84, 10} }), "tensor fc5.weight has shape [84, 10], its layer needs [10, 84]"},
	} {
		path := filepath.Join(t.TempDir(), "broken.safetensors")
		write(t, path, c.content)
		var a answer
		tc.session.ask(t, map[string]any{"do": "examine", "file": path, "pixels": tc.pixels}, &a)
		if !strings.HasPrefix(a.Error, "FormatError: "+path+": ") || !strings.Contains(a.Error, c.want) || strings.Contains(a.Error, "\n") {
			t.Errorf("%s: %q, want a FormatError that names the file and says %q", c.name, a.Error, c.want)
		}
	}
}

// commandLine runs muster_torch.py as a program.
func (tc *torchTest) commandLine(t *testing.T, file string) {
	run := func(args ...string) (stdout, stderr string, status int) {
		cmd := torchCommand(t, tc.python, append([]string{"../../python/muster_torch.py"}, args...)...)
		var out, err bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &err
		if failed := cmd.Run(); failed != nil {
			var exit *exec.ExitError
			if !errors.As(failed, &exit) {
				t.Fatal(failed)
			}
			status = exit.ExitCode()
		}
		return out.String(), err.String(), status
	}
	oneLine := regexp.MustCompile(`^muster_torch: [^\n]+\n$`)
	if out, _, status := run(file); status != 0 || !strings.Contains(out, "(fc5): Dense(in_features=84, out_features=10, bias=True)") {
		t.Errorf("without a picture, status %d, want 0 and the module:\n%s", status, out)
	}
	out, _, status := run("--json", file)
	var about struct {
		Network  string
		Topology struct{ Layers []any }
	}
	if err := json.Unmarshal([]byte(out), &about); status != 0 || err != nil || about.Network != "lenet5" || len(about.Topology.Layers) == 0 {
		t.Errorf("--json without a picture, status %d, %v, want the metadata:\n%s", status, err, out)
	}
	out, stderr, status := run("nothing.safetensors")
	if status != 1 || out != "" || !oneLine.MatchString(stderr) || !strings.Contains(stderr, "nothing.safetensors") {
		t.Errorf("a file that is not there: status %d, %q, %q, want 1 and one line about it", status, out, stderr)
	}
	if torchCommand(t, tc.python, "-c", "import PIL").Run() != nil {
		if out, stderr, status := run(file, tc.pictures[0]); status != 1 || !strings.Contains(stderr, "Pillow") || out != "" {
			t.Errorf("a picture without Pillow: status %d, %q, %q, want 1 and a line that names Pillow", status, out, stderr)
		}
		t.Skipf("%s has no Pillow: pictures are left out", tc.python)
	}
	want := tc.logits(t, file)
	out, _, status = run(append([]string{file, "--json"}, tc.pictures...)...)
	lines := json.NewDecoder(strings.NewReader(out))
	text, _, _ := run(append([]string{file}, tc.pictures...)...)
	for i, picture := range tc.pictures {
		var line struct {
			File        string
			Predictions []struct {
				Class       string
				Index       int
				Probability float64
				Logit       float64
			}
		}
		if err := lines.Decode(&line); err != nil || status != 0 || line.File != picture || len(line.Predictions) != 5 {
			t.Fatalf("--json, status %d, picture %d: %v\n%s", status, i, err, out)
		}
		best := line.Predictions[0]
		var sum float64
		for _, logit := range want[i] {
			sum += math.Exp(logit - best.Logit)
		}
		near := func(a, b float64) bool { return math.Abs(a-b) <= torchTolerance*max(1, math.Abs(b)) }
		if !near(best.Logit, slices.Max(want[i])) || !near(best.Logit, want[i][best.Index]) || !near(best.Probability, 1/sum) {
			t.Errorf("picture %d: %+v, want the class of Muster's largest logit of %v", i, best, want[i])
		}
		if !strings.Contains(text, fmt.Sprintf("%s\n  %-12s %5.1f %%\n", picture, best.Class, 100*best.Probability)) {
			t.Errorf("picture %d: want it with %q in\n%s", i, best.Class, text)
		}
	}
	if out, stderr, status := run(file, filepath.Join(programs, "muster")); status != 1 || out != "" || !oneLine.MatchString(stderr) {
		t.Errorf("no picture: status %d, %q, %q, want 1 and one line", status, out, stderr)
	}
}
