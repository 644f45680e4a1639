package deploy

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// commands are the lines of README.md's code blocks that are typed.
func commands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i, block := range strings.Split(string(text), "```") {
		lines := strings.Split(strings.Trim(block, "\n"), "\n")
		if i%2 == 1 && lines[0] != "yaml" {
			for _, line := range lines {
				if line = strings.TrimSpace(line); line != "" { // a block of a list's item is indented
					all = append(all, line)
				}
			}
		}
	}
	return all
}

// TestReadmeNamesWhatThereIs compares the commands of README.md with the
// manifests and with this folder.
func TestReadmeNamesWhatThereIs(t *testing.T) {
	m := built(t, "overlays/local")
	var said strings.Builder
	for _, line := range commands(t) {
		said.WriteString(line + "\n")
		for _, file := range regexp.MustCompile(`deploy/[\w./-]*`).FindAllString(line, -1) {
			if _, err := os.Stat(strings.TrimPrefix(file, "deploy/")); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if strings.Contains(line, "-k ") && !slices.ContainsFunc(folders, func(f string) bool { return strings.Contains(line, "-k deploy/"+f) }) {
			t.Errorf("%s: applies what can't be", line)
		}
		if n := regexp.MustCompile(`-n (\S+)`).FindStringSubmatch(line); n != nil && n[1] != m.namespace.Name {
			t.Errorf("%s: the namespace is %s", line, m.namespace.Name)
		}
	}
	for _, want := range []string{
		" -t " + m.server.Spec.Template.Spec.Containers[0].Image + " ",
		"logs -f " + m.server.Name + "-0\n",
		"app.kubernetes.io/component=" + m.workers.Spec.Template.Labels["app.kubernetes.io/component"] + " ",
		"port-forward service/" + m.service.Name + " 9000 9001\n",
		" job/" + m.workers.Name + " ",
		// In any other order new workers may hear from the old server that the job is done.
		"kubectl apply -k deploy/base\nkubectl -n muster rollout status statefulset/" + m.server.Name +
			"\nkubectl -n muster delete job " + m.workers.Name + "\nkubectl apply -k deploy/base\n",
		" -C /var/lib/muster --exclude etcd job ",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("README.md has no command with %q", want)
		}
	}
}

// TestImageIsSetInOnePlace follows README.md's example of an overlay.
func TestImageIsSetInOnePlace(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if err := files.WriteFile("/deploy/overlays/example/kustomization.yaml", []byte(example)); err != nil {
		t.Fatal(err)
	}
	m, err := build(files, "overlays/example")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if err := c.find(m); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got := m.workloads()[1].container().Image; got != "registry.example.org/muster:1" {
		t.Errorf("the workers' image is %s", got)
	}
}

// TestCheckpointsPodReadsTheClaim compares the pod that checkpoints are copied
// through with the server whose they are.
func TestCheckpointsPodReadsTheClaim(t *testing.T) {
	text, err := os.ReadFile("checkpoints.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o, _, err := strict.Decode(text, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	reader, ok := o.(*corev1.Pod)
	if !ok {
		t.Fatalf("checkpoints.yaml is a %T", o)
	}
	m := built(t, "base")
	server := m.workloads()[0]
	if err := restricted(&reader.Spec); err != nil {
		t.Errorf("its namespace would refuse it: %v", err)
	}
	want := m.server.Spec.VolumeClaimTemplates[0].Name + "-" + m.server.Name + "-0"
	if v := reader.Spec.Volumes[0]; v.PersistentVolumeClaim == nil || v.PersistentVolumeClaim.ClaimName != want || !v.PersistentVolumeClaim.ReadOnly {
		t.Errorf("it mounts %+v, want claim %s to read", v.VolumeSource, want)
	}
	dir, err := server.need("checkpoint-dir")
	if err != nil {
		t.Fatal(err)
	}
	if mount := reader.Spec.Containers[0].VolumeMounts[0]; mount.Name != reader.Spec.Volumes[0].Name || mount.MountPath != path.Dir(dir) {
		t.Errorf("it mounts %s at %s, the server keeps checkpoints in %s", mount.Name, mount.MountPath, dir)
	}
	if got, want := *reader.Spec.SecurityContext.RunAsUser, *server.pod().SecurityContext.RunAsUser; got != want {
		t.Errorf("it runs as %d, the server as %d", got, want)
	}
	near := reader.Spec.Affinity.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.LabelSelector
	selector, err := metav1.LabelSelectorAsSelector(near)
	if err != nil {
		t.Fatal(err)
	}
	if err := selects(selector, server, m.workloads()[1]); err != nil {
		t.Errorf("it goes to the wrong node: %v", err)
	}
	service, err := metav1.LabelSelectorAsSelector(metav1.SetAsLabelSelector(m.service.Spec.Selector))
	if err != nil {
		t.Fatal(err)
	}
	if err := selects(service, server, workload{reader, &corev1.PodTemplateSpec{ObjectMeta: reader.ObjectMeta}, nil}); err != nil {
		t.Errorf("the service leads to it: %v", err)
	}
}
