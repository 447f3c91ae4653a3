package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/internal/load"
	"github.com/thumpmq/thump/internal/result"
)

// onePlace is what send and receive, the tutorial's two programs, have in
// common: each works on one queue or stream, which others may use as well.
type onePlace struct {
	connect connectFlags
	places  placeFlags
	output  outputFlags

	place load.Place
	flags *pflag.FlagSet // which of them were given
}

func atMostOneQueue(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one queue, and got %d", cmd.CommandPath(), len(args))
	}
	return nil
}

// setPlace finds out what the command is to work on.
func (c *onePlace) setPlace(cmd *cobra.Command, args []string) error {
	c.flags = cmd.Flags()
	name := queueDefault
	if len(args) > 0 {
		name = args[0]
	}
	c.place = c.places.place(name)
	if len(args) > 0 && c.place.Streams() {
		return usagef("%s takes one queue or stream, and got the queue %q and a stream", cmd.CommandPath(), name)
	}
	return nil
}

// check says what is wrong with the flags that both commands have.
func (c *onePlace) check() error {
	return faults(c.connect.check(c.flags), c.places.check(c.place, c.flags), wrongKind(c.flags, c.place.Streams()))
}

// work is what a command does.
type work interface {
	// begin makes the queue or stream where it is not there, or says why the
	// command can't do its work.
	begin(ctx context.Context, conn *connection) (prepared, error)
	// measure does the work, and returns the record of it and its text. The error
	// is why it ended early.
	measure(ctx context.Context, conn *connection, place *prepared, u *ui) (*result.Result, string, error)
}

// run connects, does the work, and prints its result.
func (c *onePlace) run(ctx context.Context, u *ui, command string, w work) (err error) {
	u.quiet = c.output.quiet
	json, err := openJSON(c.output.json)
	if err != nil {
		return err
	}
	defer json.discard()

	starting, started := u.starting(ctx)
	defer started()
	conn, err := c.connect.connect(starting, "thump "+command)
	if err != nil {
		return orInterrupted(u, err)
	}
	defer func() {
		if closing := conn.close(ctx, true); err == nil {
			err = closing
		}
	}()
	place, err := w.begin(starting, conn)
	if err != nil {
		return orInterrupted(u, err)
	}
	r, text, ended := w.measure(ctx, conn, &place, u)
	if err := printResult(u, json, r, text); err != nil {
		return err
	}
	return verdictError(r, ended)
}
