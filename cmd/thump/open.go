package main

import (
	"context"
	"errors"
)

// opened is what send, receive and run have before their work begins.
type opened struct {
	conn *connection
	json *file    // where the record goes as JSON; nil if nobody wants that
	html *file    // where it goes as a page; nil likewise
	save *runFile // where its course goes; nil likewise
	keep bool     // what the command made is to stay
	u    *ui

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
	conn, err := connect(ctx, u, manner{name: cfg.command, recovery: cfg.recovery.recovery()})
	if err != nil {
		_ = save.close() // it has nothing in it, and goes
		return nil, u.orInterrupted(err)
	}
	return &opened{conn: conn, json: json, html: html, save: save, failIf: cfg.result.failIf, keep: cfg.keep, u: u, managementURL: cfg.output.managementURL}, nil
}

// close closes the connection, and ends a broker that was started for it, unless that is
// to be kept. It returns what the command ends with: err, or why that failed. A broker
// that may be left running is news even to who has pressed Ctrl-C.
func (o *opened) close(ctx context.Context, err error) error {
	o.json.discard()
	o.html.discard()
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
