package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// connectPatience is how long etcd may take to answer before the user is told that it is
// waited for.
const connectPatience = 3 * time.Second

// ErrAway is that etcd has been out of reach for as long as it may.
var ErrAway = errors.New("etcd could not be reached")

// ConnectPatiently is Connect for a process that may start before etcd, or while it is
// away: it says once that it waits, and does so for longest, or for ever where that is 0.
// The error wraps ErrAway where etcd did not answer in that time; others, but ctx's, are
// of the endpoints themselves.
func ConnectPatiently(ctx context.Context, endpoints []string, longest time.Duration, log *slog.Logger) (*clientv3.Client, error) {
	return connectPatiently(ctx, endpoints, connectPatience, longest, log)
}

func connectPatiently(ctx context.Context, endpoints []string, patience, longest time.Duration, log *slog.Logger) (*clientv3.Client, error) {
	if longest == 0 {
		longest = math.MaxInt64
	}
	patience = min(patience, longest)
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := Connect(short, endpoints, log)
	if err == nil || short.Err() == nil || ctx.Err() != nil {
		return client, err
	}
	if longest > patience {
		log.Info("waiting for etcd", "err", err)
		long, cancel := context.WithTimeout(ctx, longest-patience)
		defer cancel()
		if client, err = Connect(long, endpoints, log); err == nil || long.Err() == nil || ctx.Err() != nil {
			return client, err
		}
	}
	return nil, fmt.Errorf("%w for %v: %w", ErrAway, longest, err)
}
