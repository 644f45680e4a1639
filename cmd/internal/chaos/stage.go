package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Job is what is trained: of lenet5 with outputs enough for three chunks, on images that
// every worker makes up for itself.
const (
	jobName    = "faults"
	jobShards  = 8
	jobBatch   = 64
	jobBatches = 100 // of an epoch, at the end of which there is an evaluation
)

// jobFlags are the flags of the job, but for checkpoints.
func jobFlags() []string {
	return []string{
		"--job", jobName, "--network", "lenet5", "--classes", "8000", "--shards", fmt.Sprint(jobShards), "--batch", fmt.Sprint(jobBatch),
		"--limit-batches", fmt.Sprint(jobBatches), "--epochs", "100000", "--schedule", "constant", "--lr", "0.001",
	}
}

// server is a parameter server, the link to it, and how it can be asked.
type server struct {
	*process
	link *link // from all others
	etcd *link // to etcd
	conn *grpc.ClientConn
	api  musterv1.MusterServiceClient
}

// member is a worker and its link to etcd.
type member struct {
	*process
	etcd *link
}

// stage is a cluster of processes.
type stage struct {
	cfg     Config
	dir     string // checkpoints, which all servers share, are in dir/job
	log     *slog.Logger
	etcd    *process
	servers []*server
	record  *record
	asking  sync.WaitGroup
	leave   context.CancelFunc

	mu      sync.Mutex // guards the fields below
	workers []*member  // that there are
	ever    []*member  // that there have been
}

// startStage starts everything. Checkpoints are written each so many steps.
func startStage(cfg Config, dir string, every uint64, log *slog.Logger) (*stage, error) {
	s := &stage{cfg: cfg, dir: dir, log: log, record: newRecord(log)}
	if err := os.Mkdir(s.checkpoints(), 0o700); err != nil {
		return nil, err
	}
	s.etcd = startProcess("etcd", log, cfg.Program, "bench", "etcd", "--dir", s.path("etcd"), "--listen", "unix://"+s.path("e"))
	ctx, leave := context.WithCancel(context.Background())
	s.leave = leave
	for i := range cfg.Servers {
		if err := s.addServer(ctx, i, every); err != nil {
			s.close()
			return nil, err
		}
	}
	for range cfg.Workers {
		if err := s.addWorker(); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) checkpoints() string { return s.path("job") }

// addServer starts a parameter server. All of them are standbys: whoever is first leads.
func (s *stage) addServer(ctx context.Context, i int, every uint64) error {
	name := fmt.Sprintf("server-%d", i)
	own, front := s.path(fmt.Sprintf("s%d", i)), s.path(fmt.Sprintf("l%d", i))
	v := &server{}
	var err error
	if v.link, err = openLink(front, own); err != nil {
		return err
	}
	if v.etcd, err = openLink(s.path(fmt.Sprintf("es%d", i)), s.path("e")); err != nil {
		return err
	}
	if v.conn, err = grpc.NewClient("unix://"+own, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(grpc.ConnectParams{
		// A standby listens, and answers only once it leads: which must not be missed.
		Backoff: backoff.Config{BaseDelay: askPause, Multiplier: 1.2, MaxDelay: 2 * askPause}, MinConnectTimeout: time.Second,
	})); err != nil {
		return err
	}
	v.api = musterv1.NewMusterServiceClient(v.conn)
	argv := append([]string{s.cfg.Program, "paramserver"}, jobFlags()...)
	v.process = startProcess(name, s.log, append(argv,
		"--checkpoint-dir", s.checkpoints(), "--checkpoint-every", fmt.Sprintf("%dsteps", every),
		"--listen", "unix://"+own, "--advertise", "unix://"+front, "--http", "off", "--etcd", "unix://"+s.path(fmt.Sprintf("es%d", i)), "--standby",
		"--log-format", "text", "--json")...)
	s.servers = append(s.servers, v)
	s.asking.Go(func() { s.record.ask(ctx, v) })
	return nil
}

// addWorker starts a worker; every second one shares no memory with servers.
func (s *stage) addWorker() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := len(s.ever)
	name := fmt.Sprintf("worker-%d", i)
	front := s.path(fmt.Sprintf("ew%d", i))
	link, err := openLink(front, s.path("e"))
	if err != nil {
		return err
	}
	p := startProcess(name, s.log, s.cfg.Program, "worker", "--etcd", "unix://"+front, "--job", jobName, "--data", "synthetic", "--threads", "1",
		fmt.Sprintf("--shared-memory=%v", i%2 == 0), "--http", "off", "--log-format", "text")
	m := &member{p, link}
	s.workers, s.ever = append(s.workers, m), append(s.ever, m)
	return nil
}

// crew are the workers that there are.
func (s *stage) crew() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.workers)
}

// dismiss has a worker leave for good.
func (s *stage) dismiss(m *member) {
	s.mu.Lock()
	s.workers = slices.DeleteFunc(slices.Clone(s.workers), func(w *member) bool { return w == m })
	s.mu.Unlock()
	m.retire()
	m.terminate()
}

// processes are all that there have been, those of workers that left among them.
func (s *stage) processes() []*process {
	all := []*process{s.etcd}
	for _, v := range s.servers {
		all = append(all, v.process)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.ever {
		all = append(all, m.process)
	}
	return all
}

// defect is the first end of a process that nothing in a plan explains; empty: none was.
func (s *stage) defect() string {
	for _, p := range s.processes() {
		if why := p.fault.Load(); why != nil {
			return p.name + " " + *why
		}
	}
	return ""
}

// writeTails leaves what all processes have written beside the job's files.
func (s *stage) writeTails() {
	for _, p := range s.processes() {
		if err := p.writeTail(s.path(p.name + ".log")); err != nil {
			s.log.Warn("messages were not kept", "process", p.name, "err", err)
		}
	}
}

// close ends everything.
func (s *stage) close() {
	s.leave()
	for _, p := range s.processes() {
		p.close()
	}
	s.mu.Lock()
	workers := s.ever
	s.mu.Unlock()
	for _, m := range workers {
		m.etcd.close()
	}
	for _, v := range s.servers {
		v.conn.Close()
		v.link.close()
		v.etcd.close()
	}
	s.asking.Wait()
}
