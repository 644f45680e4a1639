package lint

// Rules is what Check holds a tree to.
type Rules struct {
	Packages []Package // from the ground up: each may import only such as stand above it in the list
	Tests    []string  // what test files may import beyond their package's own
	Trees    []Tree    // packages matched by a pattern, after those listed
	Denied   []Denied  // reasons for edges that someone may want
	Foreign  []Foreign
	Linked   []Linked
	Exact    Exact
	BadNames []string
}

// Package is one package and what it may import of the project.
type Package struct {
	Path  string   // relative to the module
	May   []string // production files
	Tests []string // besides, in test files
	Why   string   // why no more
}

// Tree is every package under a path. Its packages may import each other.
type Tree struct {
	Under  string
	Except []string // what none of them may import, by path or "path/..."
	Why    string
}

// Denied gives the reason why one package does not import another.
type Denied struct{ From, To, Why string }

// Foreign limits who imports a package that is not the project's.
type Foreign struct {
	Import string   // it and all under it
	Only   []string // "dir/file.go", "dir", or "dir/..."
	Tests  bool     // test files may import it anywhere
	Why    string
}

// Linked limits which programs hold a package, directly or by way of others.
type Linked struct {
	Package  string
	Programs []string // packages named main outside these may not reach it
	Never    []string // nor may these, main or not
	Why      string
}

// Exact names functions that must not be called where bits are promised.
type Exact struct {
	Under  []string // packages, "dir" or "dir/..."
	Except []string // but these
	Import string
	Funcs  []string
	Why    string
}

const (
	proto      = "proto/muster/v1"
	philox     = "internal/philox"
	kernel     = "internal/kernel"
	ptx        = "internal/ptx"
	telemetry  = "internal/telemetry"
	membership = "internal/membership"
	embedded   = "internal/membership/embedded"
	endpoint   = "internal/telemetry/endpoint"
	picture    = "internal/picture"
	chart      = "internal/chart"
	topology   = "model/topology"
	tensors    = "model/safetensors"
	wire       = "internal/wire"
	params     = "model/params"
	device     = "model/device"
	suite      = "model/device/devicetest"
	cpu        = "model/device/cpu"
	cuda       = "model/device/cuda"
	optim      = "paramserver/optim"
	checkpoint = "paramserver/checkpoint"
)

// Project is the layering of this project; docs/architecture.md, section 3,
// shows it as a picture.
var Project = Rules{
	Packages: []Package{
		{Path: philox, Why: "it stands below all others, and what it draws must never change"},

		{Path: proto, Why: "the protocol is ground: whoever speaks it depends on nothing else of the project"},
		{Path: "dataset", May: []string{philox}, Why: "images know nothing of networks or the wire; ground packages don't import each other"},
		{Path: kernel, May: []string{philox}, Why: "kernels see slices of float32, never shapes, layouts or networks"},
		{Path: ptx, May: []string{kernel}, Why: "it runs the text of GPU kernels, for tests, and knows nothing of what they compute"},
		{Path: telemetry, Why: "logging and progress serve everyone and so know no one"},
		{Path: endpoint, Why: "it serves what it is handed: metrics and health know neither servers nor workers"},
		{Path: picture, Why: "it turns files into pixels and knows nothing of networks or data sets"},
		{Path: chart, Why: "it draws numbers and knows nothing of where they come from"},
		{Path: membership, May: []string{philox}, Tests: []string{embedded}, Why: "who is there is a matter of etcd alone; ground packages don't import each other"},
		{Path: embedded, May: []string{membership}, Why: "it stands on membership and on nothing else"},

		{Path: wire, May: []string{proto, philox, kernel}, Why: "it knows ranges of float32, not layouts or networks"},

		{Path: params, May: []string{philox}, Why: "the order of parameters is below networks, devices and the wire"},
		{Path: device, May: []string{philox, params}, Why: "it says what hardware must do, not how"},
		{Path: suite, May: []string{philox, kernel, params, device}, Tests: []string{cpu}, Why: "a conformance suite sees a device through the interface alone"},
		{Path: cpu, May: []string{philox, kernel, params, device}, Tests: []string{suite, "model"}, Why: "a device is handed a graph: it knows no network"},
		{Path: cuda + "/driver", Why: "it knows calls of a library, and nothing of what they are for"},
		{Path: cuda + "/kernels", Tests: []string{philox, kernel, device, ptx}, Why: "it is text that others load"},
		{Path: cuda, May: []string{philox, kernel, params, device, cuda + "/kernels", cuda + "/driver"}, Tests: []string{suite, cpu, "model", ptx}, Why: "a device is handed a graph: it knows no network"},
		{Path: "model", May: []string{philox, kernel, params, device}, Tests: []string{suite, cpu}, Why: "networks run on any device, so they import none"},
		{Path: topology, May: []string{philox, proto, params, device, "model"}, Tests: []string{cpu}, Why: "a network written down: with the parameters it can be run by a program that knows no networks"},
		{Path: tensors, May: []string{philox, params}, Why: "a file of named tensors: it can be read for networks this build doesn't know"},

		{Path: optim, May: []string{philox, kernel, params}, Why: "an update rule is arithmetic on ranges of the vector"},
		{Path: checkpoint, May: []string{philox, params}, Why: "a checkpoint is bytes and a layout: it can be read without a server"},

		{Path: "worker", May: []string{philox, proto, "dataset", kernel, telemetry, membership, wire, params, device, "model"}, Tests: []string{suite, cpu}, Why: "the loop is handed its device"},
		{Path: "paramserver", May: []string{philox, proto, "dataset", kernel, telemetry, membership, wire, params, device, "model", topology, optim, checkpoint}, Tests: []string{embedded}, Why: "the server computes no gradients; its tests keep members in an etcd of their own"},

		{Path: "internal/lint", Why: "it reads source and needs none of it"},
	},
	Tests: []string{philox},
	Trees: []Tree{
		{Under: "cmd", Except: []string{"internal/lint", "internal/e2e/...", suite}, Why: "programs stand on top, on what ships"},
		{Under: "internal/e2e", Except: []string{"internal/lint"}, Why: "whole-system tests see everything but the layering test"},
		{Under: "deploy", Except: []string{"internal/lint", "internal/e2e/..."}, Why: "manifests are tested against the programs they start"},
		{Under: "docs", Except: []string{"internal/lint", "internal/e2e/..."}, Why: "what the documents tell the reader to type is run as it stands"},
		{Under: "bench", Except: []string{"internal/lint", "internal/e2e/..."}, Why: "benchmarks measure what ships"},
	},
	Denied: []Denied{
		{"worker", "paramserver/...", "a worker knows its server by protocol alone, so that either can be replaced"},
		{"paramserver", "worker", "a server knows its workers by protocol alone, so that either can be replaced"},
		{"worker", embedded, "the registry dies with the process that embeds it: that is the parameter server's part"},
		{"paramserver", embedded, "the program decides whether etcd runs inside it; the server only needs a client"},
		{"worker", cpu, "the program chooses the device and hands it over; the loop is the same on any"},
		{"worker", cuda, "the program chooses the device and hands it over; the loop is the same on any"},
		{"model", cpu, "a network that knew a device could not run on another"},
		{"model", "dataset", "a network states its preprocessing; who feeds it applies that"},
		{"dataset", "model", "images don't depend on who looks at them"},
		{wire, params, "the wire carries ranges of float32: layouts are compared by fingerprint on joining"},
		{checkpoint, "model", "a checkpoint must be readable for networks this build doesn't know"},
		{params, kernel, "layouts are order and names; arithmetic belongs to kernels and devices"},
	},
	Foreign: []Foreign{
		{Import: "C", Why: "CGO_ENABLED=0: one static binary that needs no compiler"},
		{Import: "github.com/ebitengine/purego", Only: []string{cuda + "/driver"}, Why: "only the GPU device loads the driver"},
		{
			Import: "google.golang.org/grpc",
			Only:   []string{"worker/client.go", "paramserver/service.go", "paramserver/assist.go", "internal/wire/codec.go", "internal/wire/frames.go", "cmd/...", "proto/...", "internal/membership/...", "internal/e2e/...", "bench/..."},
			Tests:  true,
			Why:    "in worker one file speaks gRPC, in paramserver one with workers and one with other servers, and on the wire the codec, so that loop and rounds are tested without a network",
		},
		{Import: "go.etcd.io/etcd/server", Only: []string{embedded}, Tests: true, Why: "an etcd server is 20 MB of binary: only embedded brings it in"},
		{Import: "go.etcd.io/etcd", Only: []string{"internal/membership/...", "internal/e2e/...", "cmd/..."}, Why: "etcd is membership's own matter: programs connect to it, others see who is there"},
		{Import: "github.com/spf13", Only: []string{"cmd/..."}, Tests: true, Why: "only programs read flags"},
		{Import: "github.com/prometheus", Only: []string{endpoint, "cmd/..."}, Tests: true, Why: "the loops keep counts; who serves them knows the format"},
		{Import: "gonum.org/v1/plot", Only: []string{chart}, Why: "one package draws pictures, in one style"},
		{Import: "k8s.io", Only: []string{"deploy"}, Why: "only the tests of the manifests read them as Kubernetes does"},
		{Import: "sigs.k8s.io", Only: []string{"deploy", "docs"}, Why: "only the tests of the manifests, and of the page that applies them, read them as Kubernetes does"},
		{Import: "github.com/vbauerster/mpb", Only: []string{telemetry, "cmd/..."}, Why: "one package draws on the terminal"},
		{Import: "math/rand", Only: []string{"internal/membership/...", "worker", "cmd/...", "bench/...", "internal/e2e/..."}, Tests: true, Why: "pauses may be random; what is random in a result is drawn by internal/philox, from a seed and a place"},
	},
	Linked: []Linked{
		{
			Package: embedded, Programs: []string{"cmd/paramserver", "cmd/muster"}, Never: []string{"worker", "paramserver", "cmd/worker"},
			Why: "only the programs that own a job run etcd inside them",
		},
		{
			Package: cuda, Programs: []string{"cmd/worker", "cmd/muster"}, Never: []string{"worker", "paramserver", "model", "cmd/paramserver"},
			Why: "only programs that compute gradients link the GPU device",
		},
		{
			Package: ptx, Never: []string{"worker", "paramserver", "model", "cmd/worker", "cmd/paramserver", "cmd/muster"},
			Why: "it is for tests: programs run kernels on GPUs",
		},
	},
	Exact: Exact{
		Under:  []string{"dataset", kernel, "model/...", "paramserver/optim", philox},
		Except: []string{suite}, // its reference is float64, compared within a tolerance
		Import: "math",
		Funcs: []string{
			"Acos", "Acosh", "Asin", "Asinh", "Atan", "Atan2", "Atanh", "Cbrt", "Cos", "Cosh", "Erf", "Erfc", "Exp", "Exp2", "Expm1",
			"Gamma", "Hypot", "Lgamma", "Log", "Log10", "Log1p", "Log2", "Pow", "Sin", "Sincos", "Sinh", "Tan", "Tanh",
		},
		Why: "platforms round it differently and the same job gives the same bits: use internal/kernel",
	},
	BadNames: []string{"util", "utils", "common", "base", "helper", "helpers", "misc"},
}
