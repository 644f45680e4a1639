package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// completionIndex is the annotation that tells the pod of an Indexed Job which it is.
const completionIndex = "batch.kubernetes.io/job-completion-index"

// container is a pod's only one.
func container(pod *corev1.PodSpec) *corev1.Container { return &pod.Containers[0] }

// expand replaces $(NAME) as the kubelet does in commands, arguments and
// variables: $$ stands for $, and a name that is not known stays as it is written.
func expand(text string, values map[string]string) string {
	var b strings.Builder
	for text != "" {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			break
		}
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "("), ")")
		value, ok := values[name]
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			text = after[1:]
		case strings.HasPrefix(after, "(") && closed && ok:
			b.WriteString(value)
			text = rest
		case strings.HasPrefix(after, "(") && closed:
			b.WriteString("$(" + name + ")")
			text = rest
		default:
			b.WriteByte('$')
			text = after
		}
	}
	return b.String()
}

// environment is what a container sees of its env list; annotations are those
// of its pod.
func environment(c *corev1.Container, annotations map[string]string) (map[string]string, error) {
	values := map[string]string{}
	for _, e := range c.Env {
		from := e.ValueFrom
		switch {
		case from == nil:
			values[e.Name] = expand(e.Value, values)
		case from.FieldRef != nil:
			key, ok := strings.CutPrefix(from.FieldRef.FieldPath, "metadata.annotations['")
			value, there := annotations[strings.TrimSuffix(key, "']")]
			if !ok || !there {
				return nil, fmt.Errorf("variable %s: the pod has no %s", e.Name, from.FieldRef.FieldPath)
			}
			values[e.Name] = value
		case from.ResourceFieldRef != nil:
			list, resource, _ := strings.Cut(from.ResourceFieldRef.Resource, ".")
			amounts := map[string]corev1.ResourceList{"requests": c.Resources.Requests, "limits": c.Resources.Limits}[list]
			amount, ok := amounts[corev1.ResourceName(resource)]
			if !ok || from.ResourceFieldRef.ContainerName != c.Name || !from.ResourceFieldRef.Divisor.IsZero() {
				return nil, fmt.Errorf("variable %s: %s of container %q is not set", e.Name, from.ResourceFieldRef.Resource, from.ResourceFieldRef.ContainerName)
			}
			values[e.Name] = strconv.FormatInt(amount.Value(), 10)
		default:
			return nil, fmt.Errorf("variable %s: nothing here translates its source yet", e.Name)
		}
	}
	return values, nil
}

// pod is a pod as a process: what the kubelet would start it with.
type pod struct {
	program string
	args    []string
	env     []string
	volumes map[string]string // by mount path: the directory that stands for it here
}

// translate makes a process of the only container of a template: its variables
// are resolved, its ConfigMap is written to a directory, its other volumes are empty
// ones or those given by name, and paths in its arguments lead there.
func translate(t *testing.T, m *manifests, template *corev1.PodTemplateSpec, annotations, volumes map[string]string) *pod {
	t.Helper()
	c := container(&template.Spec)
	values, err := environment(c, annotations)
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{program: c.Command[0], volumes: map[string]string{}}
	for _, mount := range c.VolumeMounts {
		dir := volumes[mount.Name]
		if dir == "" {
			dir = t.TempDir()
		}
		i := slices.IndexFunc(template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if i >= 0 && template.Spec.Volumes[i].ConfigMap != nil {
			for name, text := range m.config.Data {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o444); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.volumes[mount.MountPath] = dir
	}
	for _, arg := range c.Args {
		p.args = append(p.args, p.here(expand(arg, values)))
	}
	// A runtime makes / the home of a user who has none. The image has no directory
	// for temporary files, so there is none here either.
	p.env = []string{"HOME=/", "TMPDIR=/nonexistent"}
	im, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []map[string]string{im.env, values} {
		for name, value := range more {
			p.env = append(p.env, name+"="+value)
		}
	}
	return p
}

// here makes the path in --name=path one of this machine.
func (p *pod) here(arg string) string {
	name, value, ok := strings.Cut(arg, "=")
	if !ok {
		return arg
	}
	for mount, dir := range p.volumes {
		if value == mount || strings.HasPrefix(value, mount+"/") {
			return name + "=" + filepath.Join(dir, strings.TrimPrefix(value, mount))
		}
	}
	return arg
}

// set gives a flag another value: what has a network of its own in the cluster
// shares that of this machine here.
func (p *pod) set(name, value string) {
	for i, arg := range p.args {
		if strings.HasPrefix(arg, "--"+name+"=") {
			p.args[i] = "--" + name + "=" + value
		}
	}
}

func TestVariablesAreExpandedAsKubernetesDoes(t *testing.T) {
	values := map[string]string{"A": "1", "B": "two", "EMPTY": "", "C": "$(A)"}
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"$(A)", "1"},
		{"--shard=$(A)/8", "--shard=1/8"},
		{"$(A)$(B)", "1two"},
		{"-$(EMPTY)-", "--"},
		{"$(NONE)", "$(NONE)"},
		{"$(NONE)$(A)", "$(NONE)1"},
		{"$$(A)", "$(A)"},
		{"$$$(A)", "$1"},
		{"$$$$(A)", "$$(A)"},
		{"$(C)", "$(A)"}, // what comes of it is not looked at again
		{"$A", "$A"},
		{"a$", "a$"},
		{"$(A", "$(A"},
		{"$()", "$()"},
		{"100$ and $(A)", "100$ and 1"},
	} {
		if got := expand(tc.in, values); got != tc.want {
			t.Errorf("expand(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}
