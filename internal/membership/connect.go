package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// connectTimeout bounds Connect where its context has no deadline.
	connectTimeout = 5 * time.Second
	// reachTimeout bounds the dialling that finds out why Connect failed.
	reachTimeout = time.Second
	// redialFirst and redialLast are the shortest and the longest pause between two
	// attempts to connect again: shorter than any lease, of which one that etcd still has
	// when it comes back is to be taken anew before it runs out.
	redialFirst = 100 * time.Millisecond
	redialLast  = 700 * time.Millisecond
)

// Connect returns a client of an etcd at the endpoints: http://host:port,
// host:port or unix:///path, each a member of one cluster. It waits for an
// answer until ctx ends, or for 5 seconds if ctx has no deadline; the error then
// says what each endpoint did. The client reconnects by itself ever after; the
// caller closes it.
func Connect(ctx context.Context, endpoints []string, log *slog.Logger) (*clientv3.Client, error) {
	if len(endpoints) == 0 {
		return nil, errors.New("connect to etcd: no endpoint")
	}
	for _, endpoint := range endpoints {
		if _, _, err := split(endpoint); err != nil {
			return nil, fmt.Errorf("connect to etcd: %w", err)
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, connectTimeout)
		defer cancel()
	}
	start := time.Now()
	cli, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		DialTimeout:          connectTimeout,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		Logger:               ZapLogger(log),
		// By itself gRPC would come to try but every two minutes, when leases have long
		// run out after etcd's return.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redialFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redialLast},
			MinConnectTimeout: connectTimeout,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %s: %w", strings.Join(endpoints, ", "), err)
	}
	// A read that needs the agreement of the cluster, of a key that is never there.
	for {
		_, err = cli.Get(ctx, "/muster", clientv3.WithCountOnly())
		if err == nil {
			return cli, nil
		}
		if ctx.Err() != nil || refused(err) {
			break
		}
		rest(ctx)
	}
	cli.Close()
	if refused(err) {
		return nil, fmt.Errorf("connect to etcd at %s: %w", strings.Join(endpoints, ", "), err)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, fmt.Errorf("connect to etcd at %s: %w", strings.Join(endpoints, ", "), ctx.Err())
	}
	return nil, fmt.Errorf("etcd did not answer within %v: %s",
		time.Since(start).Round(100*time.Millisecond), strings.Join(reasons(context.WithoutCancel(ctx), endpoints), "; "))
}

// split returns the network and address to dial for an endpoint.
func split(endpoint string) (network, address string, err error) {
	address = endpoint
	if scheme, _, ok := strings.Cut(endpoint, "://"); ok {
		u, err := url.Parse(endpoint)
		if err != nil {
			return "", "", fmt.Errorf("endpoint %q: %w", endpoint, err)
		}
		switch scheme {
		case "unix":
			return "unix", u.Host + u.Path, nil
		case "http", "https":
			address = u.Host
		default:
			return "", "", fmt.Errorf("endpoint %q: want http, https or unix before ://", endpoint)
		}
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return "", "", fmt.Errorf("endpoint %q: want host:port: %w", endpoint, err)
	}
	return "tcp", address, nil
}

// reasons says of each endpoint why it can't be reached, as far as dialling it
// can tell.
func reasons(ctx context.Context, endpoints []string) []string {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	var said []string
	for _, endpoint := range endpoints {
		network, address, err := split(endpoint)
		if err == nil {
			var conn net.Conn
			if conn, err = new(net.Dialer).DialContext(ctx, network, address); err == nil {
				conn.Close()
				said = append(said, endpoint+" accepts connections but does not answer")
				continue
			}
		}
		// What dialling adds is the address, which the endpoint has named.
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		said = append(said, fmt.Sprintf("%s: %v", endpoint, err))
	}
	return said
}
