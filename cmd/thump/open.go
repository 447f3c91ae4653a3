package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/thumpmq/thump/cmd/thump/internal/metrics"
)

// opened is what send, receive and run have before their work begins.
type opened struct {
	conn *connection
	json *file    // where the record goes as JSON; nil if nobody wants that
	html *file    // where it goes as a page; nil likewise
	save *runFile // where its course goes; nil likewise
	// metrics serves its figures while it works; nil likewise.
	metrics *metrics.Server
	keep    bool // what the command made is to stay
	u       *ui

	failIf        failIfFlag
	managementURL string // of --management-url
}

// open does what send, receive and run begin with: it finds out whether the record can
// be written, so that no million messages are sent for one that cannot, and connects.
// ctx is for this beginning alone. Whoever opens must close.
func (cfg *config) open(ctx context.Context, u *ui, connect func(ctx context.Context, u *ui, how manner) (*connection, error)) (*opened, error) {
	u.quiet = cfg.output.quiet
	json, err := u.openJSON(ctx, cfg.output.json)
	if err != nil {
		return nil, u.orInterrupted(err)
	}
	html, err := cfg.openPage(ctx, u, json)
	if err != nil {
		return nil, u.orInterrupted(err)
	}
	save, err := createRunFile(cfg.output.save)
	if err != nil {
		return nil, err
	}
	o := &opened{json: json, html: html, save: save, failIf: cfg.result.failIf, keep: cfg.keep, u: u, managementURL: cfg.output.managementURL}
	if err = o.serveMetrics(ctx, cfg.output.metrics); err == nil {
		o.conn, err = connect(ctx, u, manner{name: cfg.command, recovery: cfg.recovery.recovery()})
	}
	if err != nil {
		_ = save.close() // it has nothing in it, and goes
		o.closeMetrics()
		return nil, u.orInterrupted(err)
	}
	return o, nil
}

// serveMetrics serves figures where --metrics says.
func (o *opened) serveMetrics(ctx context.Context, address string) (err error) {
	if address == "" {
		return nil
	}
	if o.metrics, err = metrics.Serve(ctx, address); err != nil {
		return fmt.Errorf("--metrics %s: %w", address, err)
	}
	o.u.errorf("Prometheus finds metrics at %s\n", o.metrics.URL())
	return nil
}

func (o *opened) closeMetrics() {
	if o.metrics != nil {
		_ = o.metrics.Close() // it served, and nothing is lost with it
	}
}

// close closes the connection, and ends a broker that was started for it, unless that is
// to be kept. It returns what the command ends with: err, or why that failed. A broker
// that may be left running is news even to who has pressed Ctrl-C.
func (o *opened) close(ctx context.Context, err error) error {
	o.json.discard()
	o.html.discard()
	o.closeMetrics()
	err = o.save.closeAfter(err)
	timeout := cleanupTimeout
	if o.u.stopping() {
		timeout = goodbyeTimeout
	}
	closing := o.conn.close(ctx, o.keep, timeout)
	if err == nil || errors.Is(err, errInterrupted) && closing != nil && o.conn.started {
		return closing
	}
	return err
}
