package deploy

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// check is one thing that must hold of a folder's objects.
type check struct {
	name string
	find func(*manifests) error
}

// checks are all of them. What each finds, faults_test.go shows.
var checks = []check{
	{"the service leads to the server alone", checkServiceSelector},
	{"the service's ports are the server's", checkServicePorts},
	{"selectors match their own pods", checkOwnPods},
	{"ports are those of the flags", checkPorts},
	{"workers call the service", checkServerAddress},
	{"probes ask where health is served", checkProbes},
	{"probes are patient", checkPatience},
	{"scrapers are told where metrics are", checkScraping},
	{"the policy lets workers in", checkPolicy},
	{"flags are known", checkFlags},
	{"keys of the file are flags", checkKeys},
	{"the programs take what they are given", checkAccepted},
	{"shards, workers and the job agree", checkShards},
	{"variables are declared", checkVariables},
	{"flags and keys do no harm", checkDenied},
	{"ends are met as they are meant", checkEnds},
	{"the Job runs, and tries again", checkJob},
	{"a new job.yaml reaches the server", checkRollout},
	{"volumes and mounts fit", checkVolumes},
	{"writes go to volumes", checkWrites},
	{"volumes are the group's", checkGroups},
	{"volumes hold what is written", checkStorage},
	{"images come from one source", checkSource},
	{"pods are restricted", checkRestricted},
	{"resources are set", checkResources},
	{"GPUs are asked for where they are used", checkGPUs},
	{"one image", checkImages},
	{"one namespace", checkNamespace},
	{"labels say what belongs together", checkLabels},
}

func TestManifestsHold(t *testing.T) {
	for _, folder := range folders {
		t.Run(folder, func(t *testing.T) {
			m := built(t, folder)
			for _, c := range checks {
				if err := c.find(m); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		})
	}
}

// workload is an object that makes pods.
type workload struct {
	object
	template *corev1.PodTemplateSpec
	claims   []corev1.PersistentVolumeClaim
}

// workloads are the server and the workers.
func (m *manifests) workloads() []workload {
	return []workload{
		{m.server, &m.server.Spec.Template, m.server.Spec.VolumeClaimTemplates},
		{m.workers, &m.workers.Spec.Template, nil},
	}
}

func (w workload) pod() *corev1.PodSpec { return &w.template.Spec }

// container is the one in which the program runs.
func (w workload) container() *corev1.Container { return container(w.pod()) }

// String names it in errors.
func (w workload) String() string { return kind(w.object) + " " + w.GetName() }

// program is what the container runs.
func (w workload) program() (string, error) {
	if n := len(w.pod().Containers) + len(w.pod().InitContainers); n != 1 {
		return "", fmt.Errorf("%s has %d containers", w, n)
	}
	if c := w.container().Command; len(c) != 1 {
		return "", fmt.Errorf("%s: the command is %q, want a program alone: the image has no shell and no entry point", w, c)
	}
	return w.container().Command[0], nil
}

// flags are the arguments as they are written, by name. Only --name=value is
// taken, because that says by itself where a flag ends.
func (w workload) flags() (map[string]string, error) {
	flags := map[string]string{}
	for _, arg := range w.container().Args {
		name, value, ok := strings.Cut(arg, "=")
		name, isFlag := strings.CutPrefix(name, "--")
		if _, twice := flags[name]; !ok || !isFlag || name == "" || twice {
			return nil, fmt.Errorf("%s: argument %q: want --name=value, once", w, arg)
		}
		flags[name] = value
	}
	return flags, nil
}

// need is the value of a flag that must be given.
func (w workload) need(name string) (string, error) {
	flags, err := w.flags()
	if err != nil {
		return "", err
	}
	value, ok := flags[name]
	if !ok {
		return "", fmt.Errorf("%s: --%s is not given", w, name)
	}
	return value, nil
}

// port is the number of a named port of the container.
func (w workload) port(name string) (int32, error) {
	for _, p := range w.container().Ports {
		if p.Name == name {
			return p.ContainerPort, nil
		}
	}
	return 0, fmt.Errorf("%s: the container has no port named %q", w, name)
}
