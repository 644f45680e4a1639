package deploy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/muster-train/muster/dataset"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// cluster runs the pods of a folder as processes. It stands for what Kubernetes
// does with them: volumes are directories, the service's name is this machine, and
// a port that a pod has for itself in the cluster is any free one.
type cluster struct {
	t *testing.T
	m *manifests

	service *service
	claim   string // the directory that stands for the server's claim
	images  string // a directory with CIFAR-10, to be in the workers' caches; "": none
}

// newCluster makes one without pods.
func newCluster(t *testing.T, m *manifests) *cluster {
	t.Helper()
	return &cluster{t: t, m: m, service: newService(t), claim: t.TempDir()}
}

// What programs say where they can be reached.
var (
	httpLine  = regexp.MustCompile(`msg="metrics and probes" http=(\S+)`)
	readyLine = regexp.MustCompile(`msg="parameter server ready".* address=\S+:(\d+)`)
)

// serverPod is the pod of the StatefulSet, on the claim of the one before.
func (c *cluster) serverPod() *pod {
	c.t.Helper()
	p := translate(c.t, c.m, &c.m.server.Spec.Template, nil, map[string]string{"checkpoints": c.claim})
	p.set("port", "0")
	p.set("http", "127.0.0.1:0")
	return p
}

// startServer starts the pod of the StatefulSet and waits until it would be ready. It returns where its http is.
func (c *cluster) startServer() (server *process, http string) {
	c.t.Helper()
	server = c.serverPod().start(c.t)
	http = server.says(httpLine)
	c.service.lead(net.JoinHostPort("127.0.0.1", server.says(readyLine)))
	return server, http
}

// startWorker starts the pod of one index of the Job.
func (c *cluster) startWorker(index int, change ...func(*pod)) *process {
	c.t.Helper()
	data := c.t.TempDir()
	if c.images != "" {
		if err := os.CopyFS(data, os.DirFS(c.images)); err != nil {
			c.t.Fatal(err)
		}
	}
	p := translate(c.t, c.m, &c.m.workers.Spec.Template, map[string]string{completionIndex: strconv.Itoa(index)}, map[string]string{"data": data})
	p.set("server", c.service.listener.Addr().String())
	p.set("http", "127.0.0.1:0")
	for _, f := range change {
		f(p)
	}
	return p.start(c.t)
}

// startWorkers starts all of the Job's.
func (c *cluster) startWorkers() []*process {
	c.t.Helper()
	var all []*process
	for i := range int(*c.m.workers.Spec.Completions) {
		all = append(all, c.startWorker(i))
	}
	return all
}

// complete waits until every worker has ended in success.
func (c *cluster) complete(workers []*process) {
	c.t.Helper()
	for i, w := range workers {
		if s := w.status(); s != 0 {
			c.t.Errorf("the worker of index %d ended with status %d, want 0", i, s)
		}
	}
	if c.t.Failed() {
		c.t.FailNow() // the server would be waited for in vain
	}
}

// pause lies between two questions to a process that is asked until it gives the
// answer wanted.
const pause = 20 * time.Millisecond

// reach waits until the server has applied step, by asking it.
func (c *cluster) reach(step uint64) {
	c.t.Helper()
	conn, err := grpc.NewClient(c.service.listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	again := time.NewTicker(pause)
	defer again.Stop()
	api := musterv1.NewMusterServiceClient(conn)
	for {
		s, err := api.Status(ctx, &musterv1.StatusRequest{}, grpc.WaitForReady(true))
		if err != nil {
			c.t.Fatalf("step %d was not reached: %v", step, err)
		}
		if s.Step >= step {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			c.t.Fatalf("step %d was not reached within %v: the server is at %d", step, limit, s.Step)
		}
	}
}

// kubelet waits for an answer as long as the manifests say.
var kubelet = &http.Client{Timeout: 10 * time.Second}

// probe asks for a path as the kubelet does.
func probe(address, path string) (int, string, error) {
	r, err := kubelet.Get("http://" + address + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return r.StatusCode, string(body), err
}

// probed asks until the answer is the status wanted.
func probed(t *testing.T, address, path string, want int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	again := time.NewTicker(pause)
	defer again.Stop()
	for {
		status, body, err := probe(address, path)
		if err == nil && status == want {
			return body
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("GET %s: %d %q, %v; want %d", path, status, body, err, want)
		}
	}
}

// writeImages writes some of the synthetic images to dir as CIFAR-10 comes from
// the network, so that a pod that looks in its cache finds CIFAR-10 there.
func writeImages(dir string, train, test int) error {
	dir = filepath.Join(dir, "cifar-10-batches-bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	set := dataset.Synthetic()
	for _, part := range []struct {
		name   string
		images *dataset.Images
		n      int
	}{{"data_batch_1.bin", set.Train, train}, {"test_batch.bin", set.Test, test}} {
		var records []byte
		for i := range part.n {
			records = append(append(records, part.images.Labels[i]), part.images.Image(i)...)
		}
		if err := os.WriteFile(filepath.Join(dir, part.name), records, 0o644); err != nil {
			return fmt.Errorf("write images: %w", err)
		}
	}
	return nil
}
