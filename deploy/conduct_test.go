package deploy

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
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

// checkJob wants a Job that starts by itself, gives each worker tries of its own,
// needs all of them, and stays when it is complete.
func checkJob(m *manifests) error {
	s, workers := m.workers.Spec, m.workloads()[1]
	switch {
	case s.Suspend != nil && *s.Suspend:
		return fmt.Errorf("%s is suspended: no worker would start", workers)
	case s.BackoffLimitPerIndex == nil || *s.BackoffLimitPerIndex < 1:
		return fmt.Errorf("%s: a worker has no second try, want backoffLimitPerIndex of at least 1", workers)
	case s.BackoffLimit != nil:
		return fmt.Errorf("%s: backoffLimit counts the tries of all workers together", workers)
	case s.MaxFailedIndexes != nil:
		return fmt.Errorf("%s: maxFailedIndexes ends the job with a worker, whose shard could move to another", workers)
	case s.SuccessPolicy != nil:
		return fmt.Errorf("%s: successPolicy ends workers before they have heard that the job is done", workers)
	case s.PodReplacementPolicy != nil && *s.PodReplacementPolicy != batchv1.Failed:
		return fmt.Errorf("%s: podReplacementPolicy %s starts a worker while the one before it has the shard", workers, *s.PodReplacementPolicy)
	case s.TTLSecondsAfterFinished != nil:
		return fmt.Errorf("%s: ttlSecondsAfterFinished removes the logs, and applying the same files again starts a second set of workers", workers)
	case s.ActiveDeadlineSeconds != nil:
		return fmt.Errorf("%s: activeDeadlineSeconds ends a job that takes as long as it should", workers)
	}
	return nil
}

// checkRollout wants the server's pod to be replaced as soon as its template
// changes, even where it can't start, and its claim to outlive it. README.md's
// recipes rest on that.
func checkRollout(m *manifests) error {
	s, server := m.server.Spec, m.workloads()[0]
	if s.PodManagementPolicy != appsv1.ParallelPodManagement {
		return fmt.Errorf("%s: podManagementPolicy %q: a pod that can't start is not replaced", server, s.PodManagementPolicy)
	}
	if u := s.UpdateStrategy; u.Type != "" && u.Type != appsv1.RollingUpdateStatefulSetStrategyType {
		return fmt.Errorf("%s: updateStrategy %s leaves the pod as it is", server, u.Type)
	}
	if u := s.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil && *u.Partition > 0 {
		return fmt.Errorf("%s: partition %d leaves the pod as it is", server, *u.Partition)
	}
	if p := s.PersistentVolumeClaimRetentionPolicy; p != nil {
		for _, then := range []appsv1.PersistentVolumeClaimRetentionPolicyType{p.WhenDeleted, p.WhenScaled} {
			if then != "" && then != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
				return fmt.Errorf("%s: the claim of the checkpoints goes with its pod or the StatefulSet: %s", server, then)
			}
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

// gpu is the resource by which NVIDIA's device plugin offers GPUs.
const gpu corev1.ResourceName = "nvidia.com/gpu"

// checkGPUs wants one GPU for each worker of the overlay that is for them, along
// with the flag that uses it and the toleration that leads to it; and none
// elsewhere. A name that no node has would leave pods pending for ever.
func checkGPUs(m *manifests) error {
	for i, w := range m.workloads() {
		var want int64
		if m.folder == folderGPU && i == 1 {
			want = 1
		}
		r := w.container().Resources
		for _, list := range []corev1.ResourceList{r.Requests, r.Limits} {
			for name := range list {
				if !slices.Contains([]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, gpu}, name) {
					return fmt.Errorf("%s asks for %s, which no node is known to have", w, name)
				}
			}
		}
		limit, limited := r.Limits[gpu]
		if limited != (want > 0) || limit.CmpInt64(want) != 0 {
			return fmt.Errorf("%s: the limit of %s is %s, want %d", w, gpu, limit.String(), want)
		}
		// Left out it is as much as the limit; it can't be anything else.
		if request, ok := r.Requests[gpu]; ok && (want == 0 || request.Cmp(limit) != 0) {
			return fmt.Errorf("%s: %s of %s are requested, the limit is %s", w, request.String(), gpu, limit.String())
		}
		flags, err := w.flags()
		if err != nil {
			return err
		}
		if number, ok := flags["gpu"]; ok != (want > 0) || ok && number != "0" {
			return fmt.Errorf("%s: --gpu is %q with %d GPUs: a container counts those it was given from 0", w, number, want)
		}
		tolerated := slices.ContainsFunc(w.pod().Tolerations, func(t corev1.Toleration) bool {
			return t.Key == string(gpu) && t.Operator == corev1.TolerationOpExists && (t.Effect == "" || t.Effect == corev1.TaintEffectNoSchedule)
		})
		if tolerated != (want > 0) {
			return fmt.Errorf("%s: it tolerates nodes kept for GPUs: %v, want %v", w, tolerated, want > 0)
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
