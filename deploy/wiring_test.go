package deploy

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/muster-train/muster/internal/telemetry/endpoint"
)

// selects says whether a selector matches the pods of one workload and not
// those of the other.
func selects(selector labels.Selector, these, notThose workload) error {
	switch {
	case selector.Empty():
		return fmt.Errorf("it selects every pod")
	case !selector.Matches(labels.Set(these.template.Labels)):
		return fmt.Errorf("%s does not match the pods of %s, %s", selector, these, labels.Set(these.template.Labels))
	case selector.Matches(labels.Set(notThose.template.Labels)):
		return fmt.Errorf("%s matches the pods of %s too", selector, notThose)
	}
	return nil
}

func checkServiceSelector(m *manifests) error {
	server, workers := m.workloads()[0], m.workloads()[1]
	if err := selects(labels.SelectorFromSet(m.service.Spec.Selector), server, workers); err != nil {
		return fmt.Errorf("service %s: %w", m.service.Name, err)
	}
	if got := m.server.Spec.ServiceName; got != m.service.Name {
		return fmt.Errorf("%s names the service %q, which is called %q", server, got, m.service.Name)
	}
	return nil
}

// checkServicePorts wants each port of the service to be one of the container,
// under the same name and number: whoever reads the one need not look up the other.
func checkServicePorts(m *manifests) error {
	server := m.workloads()[0]
	for _, p := range m.service.Spec.Ports {
		if p.TargetPort.Type != intstr.String || p.TargetPort.StrVal != p.Name {
			return fmt.Errorf("port %q of the service goes to %s", p.Name, p.TargetPort.String())
		}
		number, err := server.port(p.TargetPort.StrVal)
		if err != nil {
			return err
		}
		if !overTCP(p.Protocol) {
			return fmt.Errorf("port %q of the service carries %s", p.Name, p.Protocol)
		}
		if number != p.Port {
			return fmt.Errorf("port %q is %d of the service and %d of the container", p.Name, p.Port, number)
		}
	}
	if len(m.service.Spec.Ports) != 2 {
		return fmt.Errorf("the service has %d ports, want grpc and http", len(m.service.Spec.Ports))
	}
	// A port of the container is found by its name and its protocol.
	for _, w := range m.workloads() {
		for _, p := range w.container().Ports {
			if !overTCP(p.Protocol) {
				return fmt.Errorf("%s: port %q of the container carries %s", w, p.Name, p.Protocol)
			}
		}
	}
	if at := m.service.Spec.ClusterIP; at != "" {
		return fmt.Errorf("the service's address is %s: want one of its own, which stays when the pod is replaced", at)
	}
	return nil
}

// overTCP says whether a port's protocol is TCP, as it is where none is written.
func overTCP(p corev1.Protocol) bool { return p == "" || p == corev1.ProtocolTCP }

func checkOwnPods(m *manifests) error {
	server, workers := m.workloads()[0], m.workloads()[1]
	selector, err := metav1.LabelSelectorAsSelector(m.server.Spec.Selector)
	if err != nil {
		return fmt.Errorf("%s: %w", server, err)
	}
	if err := selects(selector, server, workers); err != nil {
		return fmt.Errorf("%s: %w", server, err)
	}
	if m.workers.Spec.Selector != nil || m.workers.Spec.ManualSelector != nil {
		return fmt.Errorf("%s has a selector of its own; the controller's is unique", workers)
	}
	return nil
}

// checkPorts compares what the programs are told to listen on with the
// container's ports.
func checkPorts(m *manifests) error {
	server, workers := m.workloads()[0], m.workloads()[1]
	for _, tc := range []struct {
		w          workload
		flag, name string
	}{{server, "port", "grpc"}, {server, "http", "http"}, {workers, "http", "http"}} {
		value, err := tc.w.need(tc.flag)
		if err != nil {
			return err
		}
		want, err := tc.w.port(tc.name)
		if err != nil {
			return err
		}
		// An address of one interface would not be reached from outside the pod.
		if got := strings.TrimPrefix(value, ":"); got != strconv.Itoa(int(want)) {
			return fmt.Errorf("%s: --%s=%s, port %q of the container is %d", tc.w, tc.flag, value, tc.name, want)
		}
	}
	return nil
}

func checkServerAddress(m *manifests) error {
	workers := m.workloads()[1]
	address, err := workers.need("server")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: --server=%s: %w", workers, address, err)
	}
	if host != m.service.Name {
		return fmt.Errorf("%s: --server=%s, the service is called %s", workers, address, m.service.Name)
	}
	for _, p := range m.service.Spec.Ports {
		if p.Name == "grpc" && strconv.Itoa(int(p.Port)) == port {
			return nil
		}
	}
	return fmt.Errorf("%s: --server=%s, the service has no port grpc of that number", workers, address)
}

func checkProbes(m *manifests) error {
	for _, w := range m.workloads() {
		c := w.container()
		for _, tc := range []struct {
			name, path string
			probe      *corev1.Probe
		}{
			{"startup", "/healthz", c.StartupProbe},
			{"liveness", "/healthz", c.LivenessProbe},
			{"readiness", "/readyz", c.ReadinessProbe},
		} {
			if tc.probe == nil || tc.probe.HTTPGet == nil {
				return fmt.Errorf("%s has no %s probe over http", w, tc.name)
			}
			get := tc.probe.HTTPGet
			if get.Path != tc.path || get.Port != intstr.FromString("http") {
				return fmt.Errorf("%s: the %s probe asks for %s of port %s, want %s of http", w, tc.name, get.Path, get.Port.String(), tc.path)
			}
			if get.Host != "" || get.Scheme != "" && get.Scheme != corev1.URISchemeHTTP {
				return fmt.Errorf("%s: the %s probe asks host %q over %q, want the pod over HTTP", w, tc.name, get.Host, get.Scheme)
			}
			if _, err := w.port("http"); err != nil {
				return err
			}
		}
	}
	return nil
}

// answerLimit is within how long a program answers a probe, in order or not:
// probeTimeout of internal/telemetry/endpoint.
const answerLimit = 2 * time.Second

func TestProbesAreAnsweredWithinTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		answers := endpoint.Handler(prometheus.NewRegistry(), stuck, stuck)
		for _, path := range []string{endpoint.PathHealthy, endpoint.PathReady} {
			start, w := time.Now(), httptest.NewRecorder()
			answers.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if took := time.Since(start); took != answerLimit || w.Code != http.StatusServiceUnavailable {
				t.Errorf("GET %s of a program that is stuck: %d after %v, want 503 after %v", path, w.Code, took, answerLimit)
			}
		}
	})
}

// checkPatience wants no probe to give up before the program has said what is not
// in order, and a container to be ended only after it has been silent for long.
// What is not written is what Kubernetes takes for it.
func checkPatience(m *manifests) error {
	for _, w := range m.workloads() {
		c := w.container()
		for _, tc := range []struct {
			name  string
			probe *corev1.Probe
			floor time.Duration // how long it must fail before anything is done
		}{
			{"startup", c.StartupProbe, 60 * time.Second},
			{"liveness", c.LivenessProbe, 30 * time.Second},
			{"readiness", c.ReadinessProbe, 0},
		} {
			if tc.probe == nil {
				return fmt.Errorf("%s has no %s probe", w, tc.name)
			}
			timeout := time.Duration(cmp.Or(tc.probe.TimeoutSeconds, 1)) * time.Second
			if timeout <= answerLimit {
				return fmt.Errorf("%s: the %s probe waits %v for an answer that may take %v", w, tc.name, timeout, answerLimit)
			}
			lasts := time.Duration(cmp.Or(tc.probe.FailureThreshold, 3)*cmp.Or(tc.probe.PeriodSeconds, 10)) * time.Second
			if lasts < tc.floor {
				return fmt.Errorf("%s: the %s probe ends the container after %v, want at least %v", w, tc.name, lasts, tc.floor)
			}
		}
	}
	return nil
}

func checkScraping(m *manifests) error {
	for _, w := range m.workloads() {
		port, err := w.port("http")
		if err != nil {
			return err
		}
		for key, want := range map[string]string{"scrape": "true", "port": strconv.Itoa(int(port)), "path": "/metrics"} {
			if got := w.template.Annotations["prometheus.io/"+key]; got != want {
				return fmt.Errorf("%s: annotation prometheus.io/%s is %q, want %q", w, key, got, want)
			}
		}
	}
	return nil
}

// checkPolicy wants the gRPC port open to workers alone and http to everyone.
func checkPolicy(m *manifests) error {
	server, workers := m.workloads()[0], m.workloads()[1]
	guarded, err := metav1.LabelSelectorAsSelector(&m.policy.Spec.PodSelector)
	if err != nil {
		return fmt.Errorf("policy %s: %w", m.policy.Name, err)
	}
	if err := selects(guarded, server, workers); err != nil {
		return fmt.Errorf("policy %s guards the wrong pods: %w", m.policy.Name, err)
	}
	// Egress without rules would cut the server off, and without Ingress nothing is
	// guarded.
	if got := m.policy.Spec.PolicyTypes; !slices.Equal(got, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) || len(m.policy.Spec.Egress) > 0 {
		return fmt.Errorf("policy %s is of types %v with %d rules for egress, want Ingress alone", m.policy.Name, got, len(m.policy.Spec.Egress))
	}
	open := map[string][]networkingv1.NetworkPolicyPeer{}
	for _, rule := range m.policy.Spec.Ingress {
		for _, p := range rule.Ports {
			if p.Port == nil || p.EndPort != nil || p.Protocol != nil && !overTCP(*p.Protocol) {
				return fmt.Errorf("policy %s opens %s, want a port of TCP", m.policy.Name, p.String())
			}
			if _, err := server.port(p.Port.String()); err != nil {
				return fmt.Errorf("policy %s: %w", m.policy.Name, err)
			}
			if _, twice := open[p.Port.String()]; twice {
				return fmt.Errorf("policy %s opens port %s twice", m.policy.Name, p.Port)
			}
			open[p.Port.String()] = rule.From
		}
		if len(rule.Ports) == 0 {
			return fmt.Errorf("policy %s opens every port", m.policy.Name)
		}
	}
	from, ok := open["grpc"]
	if !ok || len(from) != 1 || from[0].PodSelector == nil || from[0].NamespaceSelector != nil {
		return fmt.Errorf("policy %s: port grpc is open to %v, want the pods of the workers", m.policy.Name, from)
	}
	let, err := metav1.LabelSelectorAsSelector(from[0].PodSelector)
	if err != nil {
		return fmt.Errorf("policy %s: %w", m.policy.Name, err)
	}
	if err := selects(let, workers, server); err != nil {
		return fmt.Errorf("policy %s lets the wrong pods in: %w", m.policy.Name, err)
	}
	if from, ok := open["http"]; !ok || len(from) != 0 {
		return fmt.Errorf("policy %s: port http is open to %v, want everyone", m.policy.Name, from)
	}
	return nil
}
