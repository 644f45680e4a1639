package deploy

import (
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// The statuses that a program ends with, as its README has them.
const (
	statusUsage   = 2
	statusStopped = 3
)

// checkEnds compares what becomes of a pod that ends with what its status means:
// a StatefulSet starts everything again, so its program must not end by itself;
// of the workers wrong use ends the Job, and being told to stop is no fault.
func checkEnds(m *manifests) error {
	server, workers := m.workloads()[0], m.workloads()[1]
	switch end, err := server.need("when-done"); {
	case err != nil:
		return err
	case end != "wait":
		return fmt.Errorf("%s: --when-done=%s: a server that ends with its job would be started again and again", server, end)
	case m.server.Spec.Replicas == nil || *m.server.Spec.Replicas != 1:
		return fmt.Errorf("%s: parameters have one owner, want replicas: 1", server)
	}
	if got := workers.pod().RestartPolicy; got != corev1.RestartPolicyNever {
		return fmt.Errorf("%s: restartPolicy %s, with which no failure policy counts", workers, got)
	}
	if m.workers.Spec.BackoffLimitPerIndex == nil {
		return fmt.Errorf("%s: workers share their tries", workers)
	}
	var rules []batchv1.PodFailurePolicyRule
	if policy := m.workers.Spec.PodFailurePolicy; policy != nil {
		rules = policy.Rules
	}
	for _, tc := range []struct {
		status     int32
		disruption bool
		want       batchv1.PodFailurePolicyAction
	}{
		{statusUsage, false, batchv1.PodFailurePolicyActionFailJob},
		{statusStopped, false, batchv1.PodFailurePolicyActionIgnore},
		{137, true, batchv1.PodFailurePolicyActionIgnore}, // killed on a node that is drained
		{137, false, batchv1.PodFailurePolicyActionCount}, // out of memory
		{1, false, batchv1.PodFailurePolicyActionCount},
	} {
		got := verdict(rules, workers.container().Name, tc.status, tc.disruption)
		if got != tc.want {
			return fmt.Errorf("%s: status %d, disrupted %v: %s, want %s", workers, tc.status, tc.disruption, got, tc.want)
		}
	}
	if workers.pod().ActiveDeadlineSeconds != nil || m.workers.Spec.ActiveDeadlineSeconds != nil {
		return fmt.Errorf("%s: a deadline ends workers that do as they should", workers)
	}
	for _, w := range m.workloads() {
		if grace := w.pod().TerminationGracePeriodSeconds; grace == nil || *grace < 30 {
			return fmt.Errorf("%s: no grace to end in", w)
		}
	}
	return nil
}

// verdict is what the Job controller does about a failed pod: the first rule that
// applies counts.
func verdict(rules []batchv1.PodFailurePolicyRule, name string, status int32, disruption bool) batchv1.PodFailurePolicyAction {
	for _, r := range rules {
		if e := r.OnExitCodes; e != nil && (e.ContainerName == nil || *e.ContainerName == name) {
			if slices.Contains(e.Values, status) == (e.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
				return r.Action
			}
		}
		for _, c := range r.OnPodConditions {
			if disruption && c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
				return r.Action
			}
		}
	}
	return batchv1.PodFailurePolicyActionCount
}

// checkRestricted wants what Kubernetes's restricted security standard does, and
// that no pod has a credential of the cluster.
func checkRestricted(m *manifests) error {
	if got := m.namespace.Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		return fmt.Errorf("namespace %s enforces %q, want restricted", m.namespace.Name, got)
	}
	for _, w := range m.workloads() {
		if err := restricted(w.pod()); err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	return nil
}

// restricted checks one pod.
func restricted(pod *corev1.PodSpec) error {
	s, c := pod.SecurityContext, container(pod).SecurityContext
	switch {
	case s == nil || c == nil:
		return fmt.Errorf("no securityContext")
	case s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 || s.RunAsGroup == nil || *s.RunAsGroup == 0:
		return fmt.Errorf("it may run as root")
	case c.RunAsUser != nil || c.RunAsGroup != nil || c.RunAsNonRoot != nil:
		return fmt.Errorf("the container runs as another user than its pod")
	case s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		return fmt.Errorf("it runs without a seccomp profile")
	case c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation:
		return fmt.Errorf("it may gain privileges")
	case c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem:
		return fmt.Errorf("its root file system is writable")
	case c.Capabilities == nil || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(c.Capabilities.Add) > 0:
		return fmt.Errorf("it keeps capabilities")
	case pod.HostNetwork || pod.HostPID || pod.HostIPC:
		return fmt.Errorf("it shares a namespace with its node")
	case pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken:
		return fmt.Errorf("it is given a token of the cluster, which it has no use for")
	}
	return nil
}

// checkResources wants requests and limits of CPU and memory, and Go to be told
// of no more memory than there is.
func checkResources(m *manifests) error {
	for _, w := range m.workloads() {
		r := w.container().Resources
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, requested := r.Requests[name]
			limit, limited := r.Limits[name]
			if !requested || !limited || request.Cmp(limit) > 0 {
				return fmt.Errorf("%s: %s: requested %s, limited to %s", w, name, request.String(), limit.String())
			}
		}
		values, err := environment(w.container(), map[string]string{completionIndex: "0"})
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
		aim, err := resource.ParseQuantity(values["GOMEMLIMIT"])
		if err != nil || aim.Cmp(*r.Limits.Memory()) >= 0 {
			return fmt.Errorf("%s: GOMEMLIMIT %q is not below the limit of %s", w, values["GOMEMLIMIT"], r.Limits.Memory())
		}
	}
	return nil
}

// checkImages wants one image, with a tag that says which.
func checkImages(m *manifests) error {
	server, workers := m.workloads()[0].container().Image, m.workloads()[1].container().Image
	if server != workers {
		return fmt.Errorf("the server runs %s, the workers %s: they must be of one build", server, workers)
	}
	if _, tag, ok := strings.Cut(server, ":"); !ok || tag == "" || tag == "latest" {
		return fmt.Errorf("image %s: want a tag that is one build", server)
	}
	return nil
}

// checkNamespace wants all objects in the namespace that is made, and that one
// made first.
func checkNamespace(m *manifests) error {
	if first := m.objects[0]; first != object(m.namespace) {
		return fmt.Errorf("%s %s comes before its namespace", kind(first), first.GetName())
	}
	for _, o := range m.objects[1:] {
		if o.GetNamespace() != m.namespace.Name {
			return fmt.Errorf("%s %s is in namespace %q, want %q", kind(o), o.GetName(), o.GetNamespace(), m.namespace.Name)
		}
	}
	return nil
}

// checkLabels wants the recommended labels on every object and pod.
func checkLabels(m *manifests) error {
	const name, component = "app.kubernetes.io/name", "app.kubernetes.io/component"
	for _, o := range m.objects {
		if got := o.GetLabels(); got[name] != "muster" || got[component] == "" && o != object(m.namespace) {
			return fmt.Errorf("%s %s is labelled %v", kind(o), o.GetName(), got)
		}
	}
	for _, w := range m.workloads() {
		if got := w.template.Labels; got[name] != "muster" || got[component] != w.GetLabels()[component] {
			return fmt.Errorf("%s: its pods are labelled %v", w, got)
		}
	}
	return nil
}
