package topology

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

var classes = strings.Split("abcdefghij", "")

// networks are all there are, and such options as change a layer.
func networks(t testing.TB) map[string]*model.Network {
	t.Helper()
	all := map[string]*model.Network{}
	add := func(key, name string, o model.Options) {
		net, err := model.New(name, o)
		if err != nil {
			t.Fatal(err)
		}
		all[key] = net
	}
	for _, name := range model.Names() {
		add(name, name, model.Options{})
	}
	add("leaky", "lenet5", model.Options{Activation: "leaky-relu"})
	add("softplus", "simple-cnn", model.Options{Activation: "softplus", Classes: 12})
	add("paper", "alexnet-2012", model.Options{LRNOrder: "paper", InputSize: 67})
	add("small", "alexnet-tf", model.Options{InputSize: 64})
	return all
}

func of(net *model.Network) *musterv1.Topology { return Of(net, "relu", classes, 32, false) }

// TestEveryNetworkComesBack compares graph and layout, from both forms.
func TestEveryNetworkComesBack(t *testing.T) {
	for name, net := range networks(t) {
		want := of(net)
		text, err := JSON(want)
		if err != nil {
			t.Fatal(err)
		}
		binary, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		for form, data := range map[string][]byte{"JSON": text, "protobuf": binary} {
			read, err := Parse(data)
			if err != nil || !proto.Equal(read, want) {
				t.Fatalf("%s as %s: %v, or another topology", name, form, err)
			}
			got, err := Build(read)
			if err != nil {
				t.Errorf("%s as %s: %v", name, form, err)
				continue
			}
			if got.Layout.Fingerprint() != net.Layout.Fingerprint() || !reflect.DeepEqual(plain(got.Graph), plain(net.Graph)) {
				t.Errorf("%s as %s: another network", name, form)
			}
			if got.Side != net.Preprocess.Side || got.ImageSide != 32 || got.Mean != net.Preprocess.Mean || got.Std != net.Preprocess.Std {
				t.Errorf("%s as %s: preprocessing %v, %v, %v, %v, want %+v", name, form, got.Side, got.ImageSide, got.Mean, got.Std, net.Preprocess)
			}
			if len(got.Classes) != net.Classes || got.Classes[9] != "j" || net.Classes > 10 && got.Classes[10] != "class 10" {
				t.Errorf("%s as %s: classes %.20q", name, form, got.Classes)
			}
		}
	}
}

// plain is a graph without what concerns training alone.
func plain(g *device.Graph) *device.Graph {
	c := *g
	c.Ops = nil
	for _, op := range g.Ops {
		switch o := op.(type) {
		case *device.Conv:
			copied := *o
			copied.SkipInputGradient = false
			op = &copied
		case *device.Dense:
			copied := *o
			copied.SkipInputGradient = false
			op = &copied
		}
		c.Ops = append(c.Ops, op)
	}
	return &c
}

// TestBuiltNetworkPredictsTheSameBits runs both on a device.
func TestBuiltNetworkPredictsTheSameBits(t *testing.T) {
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	net := networks(t)["softplus"]
	built, err := Build(of(net))
	if err != nil {
		t.Fatal(err)
	}
	images := make([]float32, 2*net.Input.Values())
	for i := range images {
		images[i] = float32(i*7%13)/13 - 0.5
	}
	var logits [2][]float32
	for i, graph := range []*device.Graph{net.Graph, built.Graph} {
		plan, err := d.Compile(graph, device.Options{Images: 2})
		if err != nil {
			t.Fatal(err)
		}
		net.Initialise(plan.Parameters(), 3)
		plan.Loaded(params.Range{First: 0, End: net.Layout.Size()})
		logits[i] = make([]float32, 2*net.Classes)
		if err := plan.Predict(make([]float32, 2*net.Classes), &device.Batch{Images: images, Logits: logits[i]}); err != nil {
			t.Fatal(err)
		}
		plan.Close()
	}
	if !slices.Equal(logits[0], logits[1]) || logits[0][0] == logits[0][1] {
		t.Errorf("logits begin %v and %v", logits[0][:3], logits[1][:3])
	}
}

func TestFilesAreWrittenOnceAndReadInEitherForm(t *testing.T) {
	dir := t.TempDir()
	want := of(networks(t)["lenet5"])
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	before := map[string]os.FileInfo{}
	for _, name := range []string{FileProto, FileJSON} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = info
	}
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	for name, info := range before {
		if now, err := os.Stat(filepath.Join(dir, name)); err != nil || !os.SameFile(now, info) {
			t.Errorf("%s was written again: %v", name, err)
		}
	}
	read := func(path string) {
		t.Helper()
		if got, err := Read(path); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	read(filepath.Join(dir, FileProto))
	read(filepath.Join(dir, FileJSON))
	read(dir)
	if err := os.Remove(filepath.Join(dir, FileProto)); err != nil {
		t.Fatal(err)
	}
	read(dir) // the JSON alone will do
	if err := os.Remove(filepath.Join(dir, FileJSON)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of an empty directory: %v", err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(large); !errors.Is(err, ErrInvalid) {
		t.Errorf("of a file that is too large: %v", err)
	}
}

// TestUnsoundTopologiesAreRefused changes one thing of a sound one each time.
func TestUnsoundTopologiesAreRefused(t *testing.T) {
	nan := float32(math.NaN())
	layer := func(t *musterv1.Topology, name string) *musterv1.TopologyLayer {
		for _, l := range t.Layers {
			if l.Name == name {
				return l
			}
		}
		panic(name)
	}
	for _, tc := range []struct {
		name, network, want string
		change              func(*musterv1.Topology)
	}{
		{"version", "lenet5", "version 2, this program reads 1", func(t *musterv1.Topology) { t.Version = 2 }},
		{"empty", "lenet5", "version 0", func(t *musterv1.Topology) { proto.Reset(t) }},
		{"no layers", "lenet5", "0 layers", func(t *musterv1.Topology) { t.Layers = nil }},
		{"no preprocessing", "lenet5", "preprocessing", func(t *musterv1.Topology) { t.Preprocessing = nil }},
		{"mean of one channel", "lenet5", "preprocessing", func(t *musterv1.Topology) { t.Preprocessing.Mean = []float32{0} }},
		{"deviation 0", "lenet5", "deviation", func(t *musterv1.Topology) { t.Preprocessing.Deviation[1] = 0 }},
		{"mean NaN", "lenet5", "mean", func(t *musterv1.Topology) { t.Preprocessing.Mean[2] = nan }},
		{"image side 0", "lenet5", "0 pixels", func(t *musterv1.Topology) { t.Preprocessing.ImageSide = 0 }},
		{"channels", "lenet5", "only rgb", func(t *musterv1.Topology) { t.Preprocessing.Channels = "bgr" }},
		{"class name that moves the cursor", "lenet5", "not for display", func(t *musterv1.Topology) { t.Classes[1] = "a\x1b[2J" }},
		{"no input", "lenet5", "input", func(t *musterv1.Topology) { t.Input = nil }},
		{"grey input", "lenet5", "3 channels", func(t *musterv1.Topology) { t.Input.Channels = 1 }},
		{"huge input", "lenet5", "input", func(t *musterv1.Topology) { t.Input.Height, t.Input.Width = 1<<31, 1<<31 }},
		{"layer without kind", "lenet5", "kind is not known", func(t *musterv1.Topology) { t.Layers[0].Kind = nil }},
		{"layer without shape", "lenet5", "output", func(t *musterv1.Topology) { t.Layers[0].Output = nil }},
		{"stride 0", "lenet5", "stride 0", func(t *musterv1.Topology) { layer(t, "conv1").GetConv().Stride = 0 }},
		{"kernel too large", "lenet5", "kernel", func(t *musterv1.Topology) { layer(t, "conv1").GetConv().Kernel = maxExtent + 1 }},
		{"groups 0", "lenet5", "0 groups", func(t *musterv1.Topology) { layer(t, "conv1").GetConv().Groups = 0 }},
		{"groups that don't divide", "alexnet-2012", "5 groups", func(t *musterv1.Topology) { layer(t, "conv2").GetConv().Groups = 5 }},
		{"no weight", "lenet5", "a tensor of shape", func(t *musterv1.Topology) { layer(t, "conv1").GetConv().Weight = nil }},
		{"weight of another shape", "lenet5", "its layer needs", func(t *musterv1.Topology) { layer(t, "fc4").GetDense().Weight.Shape[1]++ }},
		{"tensors overlap", "lenet5", "begins at value", func(t *musterv1.Topology) { layer(t, "fc4").GetDense().Weight.Offset-- }},
		{"two tensors of one name", "lenet5", "conv1.weight", func(t *musterv1.Topology) { layer(t, "fc4").GetDense().Weight.Name = "conv1.weight" }},
		{"another layout", "lenet5", "fingerprint", func(t *musterv1.Topology) { t.Layout = "f00d" }},
		{"another size", "lenet5", "values, it says", func(t *musterv1.Topology) { t.Parameters++ }},
		{"pooling of no known kind", "lenet5", `pooling "min"`, func(t *musterv1.Topology) { layer(t, "pool1").GetPool().Kind = "min" }},
		{"activation of no known kind", "lenet5", `activation "gelu"`, func(t *musterv1.Topology) { activationOf(t).Kind = "gelu" }},
		{"slope NaN", "lenet5", "slope NaN", func(t *musterv1.Topology) { activationOf(t).Slope = nan }},
		{"normalisation over no channel", "alexnet-lrn", "normalisation over 0", func(t *musterv1.Topology) { layer(t, "lrn1").GetLrn().Size = 0 }},
	} {
		about := proto.Clone(of(networks(t)[tc.network])).(*musterv1.Topology)
		tc.change(about)
		if _, err := Build(about); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func activationOf(t *musterv1.Topology) *musterv1.ActivationLayer {
	for _, l := range t.Layers {
		if a := l.GetActivation(); a != nil {
			return a
		}
	}
	panic("no activation")
}

// FuzzBuild: whatever a file holds, it is refused or a graph of bounded size.
func FuzzBuild(f *testing.F) {
	for _, net := range networks(f) {
		about := of(net)
		about.Classes = about.Classes[:10]
		binary, err := proto.Marshal(about)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(binary)
	}
	text, err := JSON(of(networks(f)["lenet5"]))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		about, err := Parse(data)
		if err != nil {
			return
		}
		net, err := Build(about)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v does not wrap ErrInvalid", err)
			}
			return
		}
		if net.Graph.Parameters > maxSize || len(net.Graph.Ops) > maxLayers || net.Side > maxSide {
			t.Errorf("%d parameters, %d layers, input of %d", net.Graph.Parameters, len(net.Graph.Ops), net.Side)
		}
	})
}
