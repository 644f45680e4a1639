package membership

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Member is a worker as etcd knows it.
type Member struct {
	// ID names the worker: unique in the job, kept over reconnection.
	ID string `json:"id"`
	// Host is the name of its machine, for people.
	Host string `json:"host,omitempty"`
	// Device is what it computes on, for people: cpu/2.
	Device string `json:"device,omitempty"`
	// Pinned is the shard that the worker insists on; -1: none.
	Pinned int `json:"pinned"`
	// Joined is the etcd revision at which its key was created: members in the
	// order of Joined are in the order of arrival. etcd sets it.
	Joined int64 `json:"-"`
}

// Server is a parameter server as etcd knows it.
type Server struct {
	// ID names the process: unique in the job.
	ID string `json:"id"`
	// Address is where workers reach it: host:port or unix:///path.
	Address string `json:"address"`
	// Part is the range of parameters it serves, counted from 0, of Parts.
	Part  int `json:"part"`
	Parts int `json:"parts"`
}

// ValidateJob reports a job name that can't be part of a key: allowed are 1 to
// 100 letters, digits, '-', '_' and '.'.
func ValidateJob(job string) error {
	if !plain(job, 100, "-_.") {
		return fmt.Errorf("job name %q: want 1 to 100 letters, digits, '-', '_' or '.'", job)
	}
	return nil
}

// validateID reports an identity that can't be part of a key.
func validateID(kind, id string) error {
	if !plain(id, 200, "-_.:@") {
		return fmt.Errorf("%s id %q: want 1 to 200 letters, digits, '-', '_', '.', ':' or '@'", kind, id)
	}
	return nil
}

// plain tells whether s has 1 to longest characters, each a letter or digit of
// ASCII or one of more.
func plain(s string, longest int, more string) bool {
	if len(s) == 0 || len(s) > longest {
		return false
	}
	for _, c := range s {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune(more, c) {
			return false
		}
	}
	return true
}

func (m Member) validate() error {
	if err := validateID("worker", m.ID); err != nil {
		return err
	}
	if m.Pinned < -1 {
		return fmt.Errorf("worker %s: pinned to shard %d: want a shard, or -1 for none", m.ID, m.Pinned)
	}
	return nil
}

func (s Server) validate() error {
	if err := validateID("server", s.ID); err != nil {
		return err
	}
	if s.Address == "" {
		return fmt.Errorf("server %s: no address", s.ID)
	}
	if s.Parts < 1 || s.Part < 0 || s.Part >= s.Parts {
		return fmt.Errorf("server %s: part %d/%d: want 0/p to (p-1)/p", s.ID, s.Part, s.Parts)
	}
	return nil
}

// decodeMember reads the value of a worker's key, written by validate's rules.
func decodeMember(e entry) (Member, error) {
	var m Member
	if err := json.Unmarshal(e.value, &m); err != nil {
		return Member{}, err
	}
	if m.ID != e.name {
		return Member{}, fmt.Errorf("id %q under the key of %q", m.ID, e.name)
	}
	m.Joined = e.created
	return m, m.validate()
}

// decodeServer reads the value of a server's key.
func decodeServer(e entry) (Server, error) {
	var s Server
	if err := json.Unmarshal(e.value, &s); err != nil {
		return Server{}, err
	}
	if s.ID != e.name {
		return Server{}, fmt.Errorf("id %q under the key of %q", s.ID, e.name)
	}
	return s, s.validate()
}
