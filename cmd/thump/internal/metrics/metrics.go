// Package metrics serves the figures of a command to Prometheus while it works.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Run is a run that goes on.
type Run struct {
	Record   *result.Run // its command, settings and broker, which don't change any more
	Progress *load.Progress
	Latest   func() *result.Sample // the latest sample, nil if there is none yet
}

// Server serves the figures of one run after the other. It is safe for concurrent use.
type Server struct {
	listener net.Listener
	http     *http.Server
	run      atomic.Pointer[Run]
}

// Serve listens on an address, HOST:PORT or a PORT on loopback, and serves there until Close.
func Serve(ctx context.Context, address string) (*Server, error) {
	host, port, err := split(address)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	s := &Server{listener: listener}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{run: &s.run}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	go func() { _ = s.http.Serve(listener) }() // it ends with Close
	return s, nil
}

// split is the host and the port of an address. Who names no host means this machine alone.
func split(address string) (host, port string, err error) {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	host, port, err = net.SplitHostPort(address)
	if err != nil || port == "" {
		return "", "", errors.New("must be HOST:PORT or PORT")
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return host, port, nil
}

// URL is where the figures are.
func (s *Server) URL() string { return fmt.Sprintf("http://%s/metrics", s.listener.Addr()) }

// Watch serves the figures of a run from now on, in the place of those before.
func (s *Server) Watch(r Run) { s.run.Store(&r) }

// Close ends the server at once.
func (s *Server) Close() error { return s.http.Close() }
