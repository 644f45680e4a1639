package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
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
	workers []*member
	joined  int // workers that there have ever been
}

// newStage starts everything. Checkpoints are written each so many steps.
func newStage(cfg Config, dir string, every uint64, log *slog.Logger) (*stage, error) {
	s := &stage{cfg: cfg, dir: dir, log: log, record: newRecord(log)}
	if err := os.Mkdir(s.checkpoints(), 0o700); err != nil {
		return nil, err
	}
	s.etcd = newProcess("etcd", log, cfg.Program, "bench", "etcd", "--dir", s.path("etcd"), "--listen", "unix://"+s.path("e"))
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
	if v.link, err = newLink(front, own); err != nil {
		return err
	}
	if v.etcd, err = newLink(s.path(fmt.Sprintf("es%d", i)), s.path("e")); err != nil {
		return err
	}
	if v.conn, err = grpc.NewClient("unix://"+own, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return err
	}
	v.api = musterv1.NewMusterServiceClient(v.conn)
	argv := append([]string{s.cfg.Program, "paramserver"}, jobFlags()...)
	v.process = newProcess(name, s.log, append(argv,
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
	i := s.joined
	name := fmt.Sprintf("worker-%d", i)
	front := s.path(fmt.Sprintf("ew%d", i))
	link, err := newLink(front, s.path("e"))
	if err != nil {
		return err
	}
	s.joined++
	p := newProcess(name, s.log, s.cfg.Program, "worker", "--etcd", "unix://"+front, "--job", jobName, "--data", "synthetic", "--threads", "1",
		fmt.Sprintf("--shared-memory=%v", i%2 == 0), "--http", "off", "--log-format", "text")
	s.workers = append(s.workers, &member{p, link})
	return nil
}

// crew are the workers that there are.
func (s *stage) crew() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*member(nil), s.workers...)
}

// dismiss has a worker leave for good.
func (s *stage) dismiss(m *member) {
	s.mu.Lock()
	for i, w := range s.workers {
		if w == m {
			s.workers = append(s.workers[:i:i], s.workers[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	m.retire()
	m.terminate()
	s.asking.Go(func() {
		<-m.ended
		m.etcd.close()
	})
}

// defect is the first end of a process that nothing in a plan explains; empty: none was.
func (s *stage) defect() string {
	all := []*process{s.etcd}
	for _, v := range s.servers {
		all = append(all, v.process)
	}
	for _, m := range s.crew() {
		all = append(all, m.process)
	}
	for _, p := range all {
		if why := p.fault.Load(); why != nil {
			return p.name + " " + *why
		}
	}
	return ""
}

// writeTails leaves what all processes have written beside the job's files.
func (s *stage) writeTails() {
	write := func(p *process) {
		if err := p.writeTail(s.path(p.name + ".log")); err != nil {
			s.log.Warn("messages were not kept", "process", p.name, "err", err)
		}
	}
	write(s.etcd)
	for _, v := range s.servers {
		write(v.process)
	}
	for _, m := range s.crew() {
		write(m.process)
	}
}

// close ends everything.
func (s *stage) close() {
	s.leave()
	for _, m := range s.crew() {
		m.process.close()
		m.etcd.close()
	}
	for _, v := range s.servers {
		v.process.close()
		v.conn.Close()
		v.link.close()
		v.etcd.close()
	}
	s.etcd.close()
	s.asking.Wait()
}
