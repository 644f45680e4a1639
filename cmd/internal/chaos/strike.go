package chaos

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/muster-train/muster/paramserver/checkpoint"
)

// errNothing is why a fault could not be: there was nothing that it could be done to.
var errNothing = errors.New("there is nothing to do it to")

// maxWorkers is how many workers there may be at a time.
const maxWorkers = 6

// strike does what a fault says. A fault that lasts is undone by the function it returns.
func (s *stage) strike(f Fault) (target string, mend func(), err error) {
	switch f.Kind {
	case KillWorker:
		m := one(s.crew(), f.Pick)
		return done(m.name, m.kill())
	case HaltWorker:
		m := one(s.crew(), f.Pick)
		return lasting(m.name, m.halt())
	case LeaveWorker:
		if len(s.crew()) == 1 {
			return "", nil, errNothing
		}
		m := one(s.crew(), f.Pick)
		s.dismiss(m)
		return m.name, nil, nil
	case JoinWorker:
		if len(s.crew()) == maxWorkers {
			return "", nil, errNothing
		}
		err := s.addWorker()
		return s.crew()[len(s.crew())-1].name, nil, err
	case KillStandby:
		if len(s.servers) == 1 {
			return "", nil, errNothing
		}
		v := one(s.standbys(), f.Pick)
		return done(v.name, v.kill())
	case KillServers, TearFile:
		return s.killServers(f)
	case KillEtcd:
		letGo := s.etcd.hold()
		s.etcd.kill()
		return "etcd", letGo, nil
	case HaltEtcd:
		return lasting("etcd", s.etcd.halt())
	case CutEtcdLink:
		name, l := s.etcdLink(f.Pick)
		return name, l.cut(), nil
	}
	return s.strikeLeader(f)
}

// strikeLeader does what a fault says to the server that leads.
func (s *stage) strikeLeader(f Fault) (target string, mend func(), err error) {
	v := s.record.standing().leader
	switch f.Kind {
	case KillServer:
		return done(v.name, v.kill())
	case HaltServer:
		return lasting(v.name, v.halt())
	case StopServer:
		return done(v.name, v.terminate())
	case FillDisk:
		mend, err := v.fill([]uint64{0, 1 << 20}[f.Pick%2]) // a checkpoint has 5 MB
		if err != nil {
			return v.name, nil, err
		}
		return lasting(v.name, mend)
	case CutConnection:
		return done(v.name, v.link.cutOne(f.Pick))
	case CutLink:
		return v.name, v.link.cut(), nil
	case FreezeLink:
		return v.name, v.link.freeze(), nil
	case DelayLink:
		return v.name, v.link.slow(), nil
	}
	return "", nil, fmt.Errorf("no kind of fault: %q", f.Kind)
}

func done(name string, ok bool) (string, func(), error) {
	if !ok {
		return name, nil, errNothing
	}
	return name, nil, nil
}

// lasting is what came of a fault that can be mended, if it was one.
func lasting(name string, mend func()) (string, func(), error) {
	if mend == nil {
		return name, nil, errNothing
	}
	return name, mend, nil
}

// one is any of all.
func one[T any](all []T, pick uint64) T { return all[pick%uint64(len(all))] }

// standbys are the servers that don't lead.
func (s *stage) standbys() []*server {
	leader := s.record.standing().leader
	return slices.DeleteFunc(slices.Clone(s.servers), func(v *server) bool { return v == leader })
}

// etcdLink is the link of any process to etcd.
func (s *stage) etcdLink(pick uint64) (string, *link) {
	crew := s.crew()
	if i := pick % uint64(len(crew)+len(s.servers)); i < uint64(len(crew)) {
		return crew[i].name, crew[i].etcd
	} else {
		v := s.servers[i-uint64(len(crew))]
		return v.name, v.etcd
	}
}

// killServers ends all servers at once, so that the job goes on from what is on disk;
// with TearFile not all of that is what it was.
func (s *stage) killServers(f Fault) (target string, mend func(), err error) {
	files, err := filepath.Glob(filepath.Join(s.checkpoints(), "step-*.ckpt"))
	if err != nil || f.Kind == TearFile && len(files) < 2 { // the only one is not torn
		return "", nil, cmp.Or(err, errNothing)
	}
	for _, v := range s.servers {
		defer v.hold()()
	}
	for _, v := range s.servers {
		for running := true; running; time.Sleep(5 * time.Millisecond) {
			v.kill()
			_, running = v.alive()
		}
	}
	if f.Kind == TearFile {
		target, err = tear(s.checkpoints(), f.Pick)
		return target, nil, err
	}
	return "all servers", nil, nil
}

// tear damages the newest checkpoint.
func tear(dir string, pick uint64) (target string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "step-*.ckpt"))
	if err != nil || len(files) == 0 {
		return "", cmp.Or(err, errNothing)
	}
	slices.Sort(files)
	path := files[len(files)-1]
	target = "all servers, " + filepath.Base(path)
	info, err := os.Stat(path)
	if err != nil {
		return target, err
	}
	if pick%2 == 0 {
		return target + " cut short", os.Truncate(path, int64(pick>>1%uint64(info.Size())))
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return target, err
	}
	defer file.Close()
	var b [1]byte
	at := int64(pick >> 1 % uint64(info.Size()))
	if _, err := file.ReadAt(b[:], at); err != nil {
		return target, err
	}
	b[0] ^= 1 << (pick % 8)
	if _, err := file.WriteAt(b[:], at); err != nil {
		return target, err
	}
	if verr := checkpoint.Verify(path); verr == nil {
		return target, fmt.Errorf("%s: bit %d of byte %d was flipped, and nobody noticed", path, pick%8, at)
	}
	return target + " with a bit flipped", nil
}
