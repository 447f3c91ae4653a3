package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/internal/result"
)

// oneQueue is what send and receive, the tutorial's two programs, have in
// common: each works on one queue, which others may use as well.
type oneQueue struct {
	connect connectFlags
	queue   queueFlags
	output  outputFlags

	name  string
	flags *pflag.FlagSet // which of them were given
}

func atMostOneQueue(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one queue, and got %d", cmd.CommandPath(), len(args))
	}
	return nil
}

func queueArgument(args []string) string {
	if len(args) == 0 {
		return queueDefault
	}
	return args[0]
}

// run connects, makes the queue where it is not there, lets measure do the work
// of the command, and prints the result that it returns with its text. The
// error of measure is why the work ended early.
func (c *oneQueue) run(ctx context.Context, u *ui, command string,
	measure func(*connection, preparedQueue) (*result.Result, string, error),
) (err error) {
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
	queue, err := prepareQueue(starting, conn.client, c.name, &c.queue, c.flags)
	if err != nil {
		return orInterrupted(u, err)
	}
	r, text, ended := measure(conn, queue)
	if err := printResult(u, json, r, text); err != nil {
		return err
	}
	return verdictError(r, ended)
}
