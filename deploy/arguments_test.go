package deploy

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func checkFlags(m *manifests) error {
	for _, w := range m.workloads() {
		program, err := w.program()
		if err != nil {
			return err
		}
		flags, err := w.flags()
		if err != nil {
			return err
		}
		names, err := known(program)
		if err != nil {
			return err
		}
		for name := range flags {
			if !slices.Contains(names, name) && !slices.Contains(planned[program], name) {
				return fmt.Errorf("%s: program %s has no flag --%s", w, program, name)
			}
		}
	}
	return nil
}

// settings are the keys and values of the file that the server is given.
func (m *manifests) settings() (map[string]any, error) {
	server := m.workloads()[0]
	config, err := server.need("config")
	if err != nil {
		return nil, err
	}
	text, ok := m.config.Data[path.Base(config)]
	if !ok {
		return nil, fmt.Errorf("%s: --config=%s, ConfigMap %s has no such file", server, config, m.config.Name)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		return nil, fmt.Errorf("%s of ConfigMap %s: %w", path.Base(config), m.config.Name, err)
	}
	return values, nil
}

// checkKeys wants every key of the file to be a flag of the server, and of
// `muster train` too, so that the same file trains the same job on one machine.
func checkKeys(m *manifests) error {
	values, err := m.settings()
	if err != nil {
		return err
	}
	program, err := m.workloads()[0].program()
	if err != nil {
		return err
	}
	for _, command := range [][]string{{program}, {"muster", "train"}} {
		names, err := known(command...)
		if err != nil {
			return err
		}
		for key := range values {
			if !slices.Contains(names, key) {
				return fmt.Errorf("ConfigMap %s: %q is no flag of %s", m.config.Name, key, strings.Join(command, " "))
			}
		}
	}
	flags, err := m.workloads()[0].flags()
	if err != nil {
		return err
	}
	for key := range values {
		if _, twice := flags[key]; twice {
			return fmt.Errorf("ConfigMap %s: %q has no effect, because the arguments have it too", m.config.Name, key)
		}
	}
	return nil
}

// checkAccepted runs each program with the very arguments and the very file,
// and one flag more, which is wrong in a way that is found only after all else
// has been: a program that complains of that one took the others.
func checkAccepted(m *manifests) error {
	nowhere := filepath.Join(scratch, "nowhere")
	for i, last := range []struct{ flag, complaint string }{
		{"--listen=unix://" + nowhere + "/socket", "listen on"},
		{"--data=" + nowhere, "data directory " + nowhere},
	} {
		w := m.workloads()[i]
		program, err := w.program()
		if err != nil {
			return err
		}
		values, err := environment(w.container(), map[string]string{completionIndex: "0"})
		if err != nil {
			return err
		}
		env := []string{"HOME=/"}
		for name, value := range values {
			env = append(env, name+"="+value)
		}
		var args []string
		for _, arg := range withoutPlanned(program, w.container().Args) {
			name, value, _ := strings.Cut(expand(arg, values), "=")
			switch name {
			case "--config":
				value = filepath.Join(scratch, "accepted-"+path.Base(value))
				if err := os.WriteFile(value, []byte(m.config.Data[path.Base(arg)]), 0o600); err != nil {
					return err
				}
			case "--port", "--http":
				if _, err := strconv.ParseUint(strings.TrimPrefix(value, ":"), 10, 16); err != nil {
					return fmt.Errorf("%s: %s: %w", w, arg, err)
				}
				value = strings.TrimRight(value, "0123456789") + "0" // any port that is free here
			}
			args = append(args, name+"="+value)
		}
		status, output, err := execute(program, env, append(args, last.flag)...)
		if err != nil {
			return err
		}
		if status != 2 || !strings.Contains(output, last.complaint) {
			return fmt.Errorf("%s: %s %s ended with status %d, want 2 and a complaint about the last: %s", w, program, strings.Join(args, " "), status, output)
		}
	}
	return nil
}

// denied are flags that no manifest may set, neither as an argument nor in the
// file, although the program takes them.
var denied = map[string]map[string]string{
	"paramserver": {
		"resume":   "each restart would begin from it, and not from the newest checkpoint",
		"max-time": "it is counted anew from each start, so the bits would depend on restarts",
		"listen":   "it takes the place of --port, to which the service leads",
		"json":     "README.md looks for the result in its plain form",
	},
	"worker": {
		"etcd":   "workers find the server by its service, which outlives its pods",
		"config": "its flags would be out of sight of the checks",
	},
}

// checkDenied wants no flag that is denied, and of workers none that the file has
// otherwise: they learn from the server what is trained, and a worker that asks for
// another job is refused, by which the Job fails.
func checkDenied(m *manifests) error {
	values, err := m.settings()
	if err != nil {
		return err
	}
	for i, w := range m.workloads() {
		program, err := w.program()
		if err != nil {
			return err
		}
		flags, err := w.flags()
		if err != nil {
			return err
		}
		for name, why := range denied[program] {
			_, argument := flags[name]
			_, key := values[name]
			if argument || key && i == 0 {
				return fmt.Errorf("%s: %s is set: %s", w, name, why)
			}
		}
	}
	workers := m.workloads()[1]
	flags, err := workers.flags()
	if err != nil {
		return err
	}
	for name, value := range flags {
		want, shared := values[name]
		shared = shared && !strings.HasPrefix(name, "log-") // each may have logs of its own
		if (shared || name == "job") && value != fmt.Sprint(want) {
			return fmt.Errorf("%s: --%s=%s, ConfigMap %s has %v", workers, name, value, m.config.Name, want)
		}
	}
	return nil
}

// checkShards compares the shards of the job with the pins of the workers and
// how many workers there are.
func checkShards(m *manifests) error {
	workers := m.workloads()[1]
	values, err := m.settings()
	if err != nil {
		return err
	}
	shards := fmt.Sprint(values["shards"])
	spec := m.workers.Spec
	if spec.CompletionMode == nil || *spec.CompletionMode != batchv1.IndexedCompletion || spec.Completions == nil || spec.Parallelism == nil {
		return fmt.Errorf("%s is not an Indexed Job with completions and parallelism", workers)
	}
	if *spec.Parallelism != *spec.Completions {
		return fmt.Errorf("%s: parallelism %d of %d completions: a job needs all of its workers at once", workers, *spec.Parallelism, *spec.Completions)
	}
	flags, err := workers.flags()
	if err != nil {
		return err
	}
	pin, pinned := flags["shard"]
	if !pinned {
		if n, err := strconv.Atoi(shards); err != nil || int(*spec.Completions) > n {
			return fmt.Errorf("%s: %d workers for %s shards", workers, *spec.Completions, shards)
		}
		return nil
	}
	if want := "$(JOB_COMPLETION_INDEX)/" + shards; pin != want {
		return fmt.Errorf("%s: --shard=%s, a job of %s shards wants %s", workers, pin, shards, want)
	}
	if fmt.Sprint(*spec.Completions) != shards {
		return fmt.Errorf("%s: %d workers, each pinned to one of %s shards", workers, *spec.Completions, shards)
	}
	return nil
}

// checkVariables wants every variable in an argument to be declared by the
// container, the index to be that of the Job, and nothing else in the
// environment to be taken for a flag.
func checkVariables(m *manifests) error {
	for _, w := range m.workloads() {
		values, err := environment(w.container(), map[string]string{completionIndex: "5"})
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
		for _, arg := range w.container().Args {
			if got := expand(arg, values); strings.Contains(got, "$") {
				return fmt.Errorf("%s: argument %q is passed on as %q", w, arg, got)
			}
		}
		if index, ok := values["JOB_COMPLETION_INDEX"]; ok && index != "5" {
			return fmt.Errorf("%s: JOB_COMPLETION_INDEX is %s in the pod of index 5", w, index)
		}
		if links := w.pod().EnableServiceLinks; links == nil || *links {
			return fmt.Errorf("%s: variables that describe services may be taken for flags; want enableServiceLinks: false", w)
		}
		if i := slices.IndexFunc(w.container().Env, func(e corev1.EnvVar) bool { return strings.HasPrefix(e.Name, "MUSTER_") }); i >= 0 {
			return fmt.Errorf("%s: %s would set a flag out of sight", w, w.container().Env[i].Name)
		}
		if len(w.container().EnvFrom) > 0 {
			return fmt.Errorf("%s: envFrom may set flags out of sight", w)
		}
	}
	return nil
}
