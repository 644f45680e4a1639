// Package inprocess joins a worker and its parameter server in one process.
package inprocess

import (
	"context"
	"errors"
	"fmt"

	"github.com/muster-train/muster/paramserver"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// Link is a way for one worker to a server in this process.
func Link(s *paramserver.Server) worker.Link { return link{s.Local()} }

type link struct{ local *paramserver.Local }

func (l link) Exchange(ctx context.Context, hello *musterv1.Hello) (worker.Stream, error) {
	stream, err := l.local.Exchange(ctx, hello)
	if err != nil {
		return nil, err
	}
	return stream, nil
}

func (l link) Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	r, err := l.local.Join(ctx, req)
	var refusal *paramserver.RefusedError
	if errors.As(err, &refusal) {
		err = fmt.Errorf("%w: %s", worker.ErrRefused, refusal.Reason)
	}
	return r, err
}
