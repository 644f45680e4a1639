package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/membership"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// serverOptions are the flags that say which server to ask.
type serverOptions struct {
	server  string
	etcd    []string
	job     string
	timeout time.Duration
}

func (o *serverOptions) define(flags *pflag.FlagSet) {
	settings.Group(flags, "Job", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.server, "server", "localhost:9000", "`address` of the parameter server: host:port or unix:///path")
		fs.StringSliceVar(&o.etcd, "etcd", nil, "`URLs` of an etcd in which to find the server instead")
		fs.StringVar(&o.job, "job", "", "`name` of the job (default: whatever the server trains, or, with --etcd, \"default\")")
		fs.DurationVar(&o.timeout, "timeout", 5*time.Second, "`time` that the server may take to answer")
	})
}

// check refuses what can't be asked.
func (o *serverOptions) check(cmd *cobra.Command) error {
	if o.timeout <= 0 {
		return settings.Usagef("%s %v: want a time above 0, such as 5s", settings.Origin(cmd, "timeout"), o.timeout)
	}
	if len(o.etcd) > 0 && cmd.Flags().Changed("server") {
		return settings.Usagef("--server and --etcd exclude each other: with --etcd servers are discovered")
	}
	if len(o.etcd) > 0 {
		o.job = cmp.Or(o.job, "default")
	}
	if o.job != "" {
		if err := membership.ValidateJob(o.job); err != nil {
			return settings.Usagef("%s: %w", settings.Origin(cmd, "job"), err)
		}
	}
	return nil
}

// open makes a link, which does not connect yet. The caller closes it.
func (o *serverOptions) open(log *slog.Logger) (*serverLink, error) {
	l := &serverLink{serverOptions: *o, log: log, ending: make(chan ending, 1)}
	if len(o.etcd) > 0 {
		return l, nil
	}
	return l, settings.Usage(l.dial(o.server))
}

// serverLink is a connection to the server that the flags name, or etcd at the
// moment. One goroutine uses it.
type serverLink struct {
	serverOptions
	log    *slog.Logger
	ending chan ending // gets one when the server says that it ends

	address string             // of the server
	conn    *grpc.ClientConn   // to it; nil: to be found in etcd
	leave   context.CancelFunc // ends the goroutine of conn
	hearing sync.WaitGroup     // goroutines that listen for the server's end
}

// noAnswerError says that there is no server, or none that answers in time:
// there may be one later.
type noAnswerError struct{ address, reason, advice string }

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("no parameter server answers at %s (%s); %s", e.address, e.reason, e.advice)
}

const (
	retry       = time.Second     // the longest pause between two tries to connect
	dialTimeout = 5 * time.Second // of one try, however long an answer may take
)

// dial makes the connection to the server at an address, which comes about with
// the first call.
func (l *serverLink) dial(address string) error {
	if err := worker.CheckAddress(address); err != nil {
		return err
	}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: retry / 10, Multiplier: 1.6, Jitter: 0.2, MaxDelay: retry},
			MinConnectTimeout: dialTimeout,
		}),
	)
	if err != nil {
		return fmt.Errorf("server %q: %w", address, err)
	}
	l.address, l.conn = address, conn
	var ctx context.Context
	ctx, l.leave = context.WithCancel(context.Background()) // until close
	l.hearing.Go(func() { l.hear(ctx, conn) })
	return nil
}

// ending is what a server says of its end.
type ending struct{ failed bool }

// hear waits for the server to say that it ends: its service's health then does,
// NOT_SERVING in good order and UNKNOWN after a fault. A server that is killed
// says nothing; when it is there again it is listened to again.
func (l *serverLink) hear(ctx context.Context, conn *grpc.ClientConn) {
	request := &healthv1.HealthCheckRequest{Service: musterv1.MusterService_ServiceDesc.ServiceName}
	for ctx.Err() == nil {
		stream, err := healthv1.NewHealthClient(conn).Watch(ctx, request, grpc.WaitForReady(true))
		for err == nil {
			var health *healthv1.HealthCheckResponse
			health, err = stream.Recv()
			if err != nil {
				break
			}
			switch health.Status {
			case healthv1.HealthCheckResponse_NOT_SERVING, healthv1.HealthCheckResponse_UNKNOWN:
				select {
				case l.ending <- ending{failed: health.Status == healthv1.HealthCheckResponse_UNKNOWN}:
				default: // it has been said already
				}
				return
			}
		}
		if status.Code(err) == codes.Unimplemented {
			return
		}
		rest(ctx, retry)
	}
}

// rest lets d pass, or ctx end.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// close ends the connection, and waits for what listens to it.
func (l *serverLink) close() {
	if l.conn != nil {
		l.leave()
		l.conn.Close()
		l.conn = nil
	}
	l.hearing.Wait()
}

// await asks until the server answers, for the time that it may take.
func (l *serverLink) await(ctx context.Context) (*musterv1.StatusResponse, error) {
	limited, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var before error
	for {
		r, err := l.ask(limited)
		var unanswered *noAnswerError
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.As(err, &unanswered):
			return r, err
		case limited.Err() != nil:
			return nil, cmp.Or(before, err) // the last one may say no more than that time is up
		}
		l.log.Debug("no parameter server answers; trying again", "address", unanswered.address, "err", unanswered.reason)
		before = err
		rest(limited, retry/10)
	}
}

// ask asks once.
func (l *serverLink) ask(ctx context.Context) (*musterv1.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	if l.conn == nil {
		if err := l.find(ctx); err != nil {
			return nil, err
		}
	}
	r, err := musterv1.NewMusterServiceClient(l.conn).Status(ctx, &musterv1.StatusRequest{})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unavailable, codes.DeadlineExceeded:
		e := &noAnswerError{l.address, l.reason(err), "start one, or name the address of one with --server"}
		if len(l.etcd) > 0 {
			e.advice = "etcd names it: it may have been killed just now"
			l.close() // it is looked up anew
		}
		return nil, e
	case codes.Unimplemented:
		return nil, settings.Usagef("what answers at %s is no parameter server of this version (%s)", l.address, status.Convert(err).Message())
	default:
		return nil, fmt.Errorf("parameter server at %s: %w", l.address, err)
	}
	if name := r.GetJob().GetName(); l.job != "" && name != l.job {
		return nil, settings.Usagef("the parameter server at %s trains job %q, not %q", l.address, name, l.job)
	}
	return r, nil
}

// find connects to the server that etcd names.
func (l *serverLink) find(ctx context.Context) error {
	where := strings.Join(l.etcd, ",")
	client, err := membership.Connect(ctx, l.etcd, l.log)
	if err != nil {
		if ctx.Err() == nil {
			return settings.Usage(err) // nothing that would be otherwise later
		}
		return &noAnswerError{where, err.Error(), "name the address of etcd with --etcd, or that of the server with --server"}
	}
	defer client.Close()
	// It only reads, so its leases' time to live is never used.
	server, err := membership.NewRegistry(client, l.job, time.Minute, l.log).WaitServer(ctx, 0)
	if err != nil && ctx.Err() == nil {
		return err
	}
	if err != nil {
		return &noAnswerError{where, fmt.Sprintf("etcd names none of job %q", l.job), "start one, or name another job with --job"}
	}
	return l.dial(server.Address)
}

// reason is why the server did not answer, without what gRPC wraps it in.
func (l *serverLink) reason(err error) string {
	if status.Code(err) == codes.DeadlineExceeded {
		return fmt.Sprintf("no answer within %v", l.timeout)
	}
	text := status.Convert(err).Message()
	if _, inner, ok := strings.Cut(text, `desc = "`); ok {
		text = strings.TrimSuffix(inner, `"`)
	}
	text = strings.TrimPrefix(text, "transport: ")
	if _, inner, ok := strings.Cut(text, ": connect: "); ok {
		text = inner
	}
	return text
}
