package membership

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Registry reads and writes what etcd holds of one job. It is safe for
// concurrent use. It does not own its client.
type Registry struct {
	cli    *clientv3.Client
	ttl    time.Duration
	log    *slog.Logger
	prefix string // of all keys, with a slash at its end
	outage *outage
	bad    error // what is wrong with the arguments of NewRegistry; every method returns it
}

// NewRegistry returns the registry of a job. ttl is how long a worker or server
// stays registered, or a leader leads, without a sign of life: at least a second,
// and counted by etcd in whole seconds. etcd itself has a least one, which it
// takes instead of a lower: three halves of its election timeout, rounded up to
// seconds. So that is 2 s by etcd's defaults, and 1 s where it is embedded. A job name or ttl that can't be used is reported by
// every method; see ValidateJob to ask before.
func NewRegistry(cli *clientv3.Client, job string, ttl time.Duration, log *slog.Logger) *Registry {
	bad := ValidateJob(job)
	if bad == nil {
		bad = checkTTL(ttl)
	}
	return &Registry{cli: cli, ttl: ttl, log: log, prefix: "/muster/" + job + "/", outage: &outage{log: log}, bad: bad}
}

// WithTTL returns the registry of the same job over the same client, with leases of
// another time to live: at least a second. Of an outage of etcd both tell together, once.
func (r *Registry) WithTTL(ttl time.Duration) *Registry {
	other := *r
	other.ttl = ttl
	if other.bad == nil {
		other.bad = checkTTL(ttl)
	}
	return &other
}

// checkTTL reports a time to live that is too short.
func checkTTL(ttl time.Duration) error {
	if ttl < time.Second {
		return fmt.Errorf("time to live of a lease %v: want at least 1s", ttl)
	}
	return nil
}

func (r *Registry) workers() string    { return r.prefix + "workers/" }
func (r *Registry) servers() string    { return r.prefix + "servers/" }
func (r *Registry) assignment() string { return r.prefix + "assignment" }
func (r *Registry) leader() string     { return r.prefix + "leader" }
func (r *Registry) term() string       { return r.prefix + "term" }

// entry is a key of a worker or server and its value.
type entry struct {
	name     string // the key without its prefix
	value    []byte
	created  int64 // revision at which the key came to be
	modified int64 // revision at which the value was written
}

// list returns the entries whose keys start with prefix, sorted by name, and
// the revision at which they were so.
func (r *Registry) list(ctx context.Context, prefix string) ([]entry, int64, error) {
	resp, err := r.cli.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	entries := make([]entry, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		entries = append(entries, entry{
			name:     strings.TrimPrefix(string(kv.Key), prefix),
			value:    kv.Value,
			created:  kv.CreateRevision,
			modified: kv.ModRevision,
		})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return entries, resp.Header.Revision, nil
}

// Members returns all registered workers in order of arrival, and the etcd
// revision at which they were those. A key whose value is no Member is logged
// and passed over.
func (r *Registry) Members(ctx context.Context) ([]Member, int64, error) {
	if r.bad != nil {
		return nil, 0, r.bad
	}
	entries, revision, err := r.list(ctx, r.workers())
	if err != nil {
		return nil, 0, err
	}
	return r.decodeMembers(entries), revision, nil
}

// decodeMembers returns the members of entries in order of arrival.
func (r *Registry) decodeMembers(entries []entry) []Member {
	members := make([]Member, 0, len(entries))
	for _, e := range entries {
		m, err := decodeMember(e)
		if err != nil {
			r.log.Warn("a key in etcd is no worker", "key", r.workers()+e.name, "err", err)
			continue
		}
		members = append(members, m)
	}
	slices.SortFunc(members, byArrival)
	return members
}

// byArrival orders members by the revision of their joining, those written in
// one transaction by ID.
func byArrival(a, b Member) int {
	return cmp.Or(cmp.Compare(a.Joined, b.Joined), cmp.Compare(a.ID, b.ID))
}

// Servers returns all registered parameter servers, by part and then by ID.
// A key whose value is no Server is logged and passed over.
func (r *Registry) Servers(ctx context.Context) ([]Server, error) {
	if r.bad != nil {
		return nil, r.bad
	}
	entries, _, err := r.list(ctx, r.servers())
	if err != nil {
		return nil, err
	}
	return r.decodeServers(entries), nil
}

// decodeServers returns the servers of entries, by part and then by ID.
func (r *Registry) decodeServers(entries []entry) []Server {
	servers := make([]Server, 0, len(entries))
	for _, e := range entries {
		s, err := decodeServer(e)
		if err != nil {
			r.log.Warn("a key in etcd is no parameter server", "key", r.servers()+e.name, "err", err)
			continue
		}
		servers = append(servers, s)
	}
	slices.SortStableFunc(servers, func(a, b Server) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.ID, b.ID))
	})
	return servers
}

// WaitServer waits until a part has a server and returns it; of several, the one
// registered last.
func (r *Registry) WaitServer(ctx context.Context, part int) (Server, error) {
	if r.bad != nil {
		return Server{}, r.bad
	}
	if part < 0 {
		return Server{}, fmt.Errorf("wait for the server of part %d: want at least 0", part)
	}
	var found Server
	err := r.follow(ctx, r.servers(), func(entries []entry) bool {
		// The newest last, so that it is the one that stays.
		slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.modified, b.modified) })
		found = Server{}
		for _, e := range entries {
			s, err := decodeServer(e)
			if err != nil {
				r.log.Warn("a key in etcd is no parameter server", "key", r.servers()+e.name, "err", err)
			} else if s.Part == part {
				found = s
			}
		}
		return found.ID != ""
	})
	if err != nil {
		return Server{}, fmt.Errorf("wait for the server of part %d: %w", part, err)
	}
	return found, nil
}
