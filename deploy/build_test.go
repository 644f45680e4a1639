package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// folders are those that can be applied.
var folders = []string{"base", "overlays/local", folderGPU}

// folderGPU is the one whose workers compute on GPUs.
const folderGPU = "overlays/gpu"

// edit is a change of a file: the first old becomes new.
type edit struct{ file, old, new string }

// tree is this folder in memory, with edits.
func tree(edits ...edit) (filesys.FileSystem, error) {
	memory := filesys.MakeFsInMemory()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return memory.WriteFile(path.Join("/deploy", filepath.ToSlash(p)), text)
	})
	if err != nil {
		return nil, err
	}
	for _, e := range edits {
		name := path.Join("/deploy", e.file)
		text, err := memory.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(text), e.old) {
			return nil, fmt.Errorf("%s has no %q", e.file, e.old)
		}
		if err := memory.WriteFile(name, []byte(strings.Replace(string(text), e.old, e.new, 1))); err != nil {
			return nil, err
		}
	}
	return memory, nil
}

// manifests is what a folder builds to: one object of each kind.
type manifests struct {
	folder string

	namespace *corev1.Namespace
	config    *corev1.ConfigMap
	service   *corev1.Service
	server    *appsv1.StatefulSet
	policy    *networkingv1.NetworkPolicy
	workers   *batchv1.Job

	objects []object // all of them, in the order in which they are applied
}

// object is one of them.
type object interface {
	runtime.Object
	GetName() string
	GetNamespace() string
	GetLabels() map[string]string
}

// kind names an object's kind.
func kind(o runtime.Object) string { return o.GetObjectKind().GroupVersionKind().Kind }

// strict decodes as an API server with strict validation does: it refuses
// unknown kinds, unknown fields and fields given twice.
var strict = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, networkingv1.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// build builds a folder of a tree and decodes what comes out.
func build(files filesys.FileSystem, folder string) (*manifests, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, path.Join("/deploy", folder))
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", folder, err)
	}
	m := &manifests{folder: folder}
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, fmt.Errorf("build %s: %s: %w", folder, r.CurId(), err)
		}
		o, _, err := strict.Decode(text, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("build %s: %s: %w", folder, r.CurId(), err)
		}
		if err := m.take(o); err != nil {
			return nil, fmt.Errorf("build %s: %w", folder, err)
		}
	}
	if m.namespace == nil || m.config == nil || m.service == nil || m.server == nil || m.policy == nil || m.workers == nil {
		return nil, fmt.Errorf("build %s: an object is missing among %d", folder, len(m.objects))
	}
	return m, nil
}

// take puts an object in its place.
func (m *manifests) take(o runtime.Object) error {
	var free bool
	switch o := o.(type) {
	case *corev1.Namespace:
		free, m.namespace = m.namespace == nil, o
	case *corev1.ConfigMap:
		free, m.config = m.config == nil, o
	case *corev1.Service:
		free, m.service = m.service == nil, o
	case *appsv1.StatefulSet:
		free, m.server = m.server == nil, o
	case *networkingv1.NetworkPolicy:
		free, m.policy = m.policy == nil, o
	case *batchv1.Job:
		free, m.workers = m.workers == nil, o
	default:
		return fmt.Errorf("nothing here checks a %s yet", kind(o))
	}
	named, ok := o.(object)
	if !ok || !free {
		return fmt.Errorf("a second %s", kind(o))
	}
	m.objects = append(m.objects, named)
	return nil
}

// built is a folder as it is on disk, but for edits.
func built(t *testing.T, folder string, edits ...edit) *manifests {
	t.Helper()
	files, err := tree(edits...)
	if err != nil {
		t.Fatal(err)
	}
	m, err := build(files, folder)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestEveryOverlayIsTested compares folders with what there is on disk.
func TestEveryOverlayIsTested(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "kustomization.yaml" {
			found[filepath.ToSlash(filepath.Dir(p))] = true
		}
		return err
	})
	for _, folder := range folders {
		if !found[folder] {
			err = errors.Join(err, fmt.Errorf("%s has no kustomization.yaml", folder))
		}
	}
	if err != nil || len(found) != len(folders) {
		t.Errorf("folders that can be applied: %v, want %v: %v", found, folders, err)
	}
}

func TestWhatKubernetesWouldRefuseIsNotBuilt(t *testing.T) {
	for _, tc := range []struct {
		name, folder string
		edit         edit
		want         string // part of the error
	}{
		{"a misspelt field", "base", edit{"base/paramserver-statefulset.yaml", "serviceName:", "servicename:"}, `unknown field "spec.servicename"`},
		{"a misspelt field far within", "base", edit{"base/worker-job.yaml", "failureThreshold:", "failureTreshold:"}, "failureTreshold"},
		{"a field of the pod in the container", "base", edit{"base/worker-job.yaml", "          command: [worker]", "          command: [worker]\n          hostNetwork: true"}, "hostNetwork"},
		{"text for a number", "base", edit{"base/worker-job.yaml", "completions: 8", "completions: eight"}, "completions"},
		{"a kind that there isn't", "base", edit{"base/worker-job.yaml", "kind: Job", "kind: Jobs"}, `no kind "Jobs"`},
		{"a version that there isn't", "base", edit{"base/worker-job.yaml", "batch/v1", "batch/v3"}, "batch/v3"},
		{"a kind that no check knows", "base", edit{"base/paramserver-service.yaml", "kind: Service\n", "kind: Endpoints\n"}, "Endpoints"},
		{"an object that is missing", "base", edit{"base/kustomization.yaml", "  - paramserver-networkpolicy.yaml\n", ""}, "missing"},
		{"a file that isn't there", "base", edit{"base/kustomization.yaml", "worker-job.yaml", "worker.yaml"}, "worker.yaml"},
		{"a field of a kustomization that there isn't", "overlays/gpu", edit{"overlays/gpu/kustomization.yaml", "namespace:", "nameSpaces:"}, "nameSpaces"},
		{"a patch of an object that isn't there", "overlays/local", edit{"overlays/local/worker.yaml", "name: worker", "name: workers"}, "workers"},
		{"a patch of another argument", "overlays/local", edit{"base/worker-job.yaml", "--data=cifar10", "--data=auto"}, "test failed"},
	} {
		files, err := tree(tc.edit)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if _, err = build(files, tc.folder); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error about %s", tc.name, err, tc.want)
		}
	}
}
