package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/internal/broker"
)

func brokerRestartCommand(u *ui, folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "restart",
		Short: "Stop the private broker and start it again, as an upgrade does",
		Long: `restart stops the private broker in order, starts it again, and says how long it was
away. It comes back with the same data, ports, user and password, so clients that
connect again find it where it was. Only where another process has taken one of its
ports by then it gets new ports and a new password, and restart says so.
` + exitCodesHelp,
		Example: `  thump broker restart`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := runningBroker(folder)
			if err != nil {
				return err
			}
			return brokerAgain(cmd.Context(), node, "Stopping", func() error { return node.Stop(cmd.Context()) }, u)
		},
	}
}

func brokerKillCommand(u *ui, folder func() (string, error)) *cobra.Command {
	var restart bool
	cmd := &cobra.Command{
		Use:   "kill",
		Short: "Kill the private broker, as a crash does",
		Long: `kill ends the private broker at once, with SIGKILL: it closes no connection in order,
and what it has not written is lost. It stays down until thump broker start, or, with
--restart, is started again at once, as thump broker restart does. Its folder stays,
with its queues and messages, ports and password.
` + exitCodesHelp,
		Example: `  thump broker kill --restart
  thump broker kill; sleep 5; thump broker start`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := runningBroker(folder)
			if err != nil {
				return err
			}
			if restart {
				return brokerAgain(cmd.Context(), node, "Killing", node.Kill, u)
			}
			return brokerKill(node, u)
		},
	}
	cmd.Flags().BoolVar(&restart, "restart", false, "start it again at once, and say how long it was away")
	return cmd
}

func brokerPauseCommand(u *ui, folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "pause",
		Short: "Let the private broker hang: connections stay open, and nothing answers",
		Long: `pause stops the private broker's process where it is, with SIGSTOP, as a machine that
hangs does: its connections stay open, new ones are taken by nobody, and nothing
answers until thump broker resume. A client notices by its heartbeats only.
thump broker status says that it is paused; stop, restart and kill end it as ever.
If it is paused already, that is no failure.
` + exitCodesHelp,
		Example: `  thump broker pause; sleep 30; thump broker resume`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := runningBroker(folder)
			if err != nil {
				return err
			}
			if node.Paused() {
				u.printf("The private broker is paused already.\n")
				return nil
			}
			if err := node.Pause(cmd.Context()); err != nil {
				return err
			}
			u.printf("RabbitMQ %s is paused. %s lets it go on.\n", node.Version, onBroker("resume", node))
			return nil
		},
	}
}

func brokerResumeCommand(u *ui, folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "resume",
		Short: "Let the paused private broker go on",
		Long: `resume lets a private broker go on that thump broker pause has stopped, with SIGCONT.
Connections whose heartbeats it missed meanwhile it closes. If it is not paused, that
is no failure.
` + exitCodesHelp,
		Example: `  thump broker resume`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := runningBroker(folder)
			if err != nil {
				return err
			}
			if !node.Paused() {
				u.printf("The private broker is not paused.\n")
				return nil
			}
			if err := node.Resume(cmd.Context()); err != nil {
				return err
			}
			u.printf("RabbitMQ %s goes on.\n", node.Version)
			return nil
		},
	}
}

// runningBroker is the broker of a folder, which is to have an outage now: one that just
// starts or stops could have none.
func runningBroker(folder func() (string, error)) (*broker.Node, error) {
	dir, err := folder()
	if err != nil {
		return nil, err
	}
	found, err := broker.Look(dir)
	switch {
	case err != nil:
		return nil, err
	case found.Busy:
		return nil, fmt.Errorf("the private broker in %s starts or stops just now: try again when that is over", found.Dir)
	case found.Node == nil:
		return broker.Open(dir) // whose error says more
	}
	return found.Node, nil
}

func brokerKill(node *broker.Node, u *ui) error {
	again := node.Again()
	if err := node.Kill(); err != nil {
		return err
	}
	if again.Attached {
		u.printf("RabbitMQ %s was killed. It was there for the program alone that has started it.\n", node.Version)
		return nil
	}
	u.printf("RabbitMQ %s was killed. %s starts it again, with its data.\n", node.Version, startAgain(node, again))
	return nil
}

// brokerAgain ends the broker in the way that end has, which doing names, and starts it
// again as it was. What would keep it from starting is found out before it ends.
func brokerAgain(ctx context.Context, node *broker.Node, doing string, end func() error, u *ui) error {
	again := node.Again()
	if again.Attached {
		return fmt.Errorf("the private broker in %s can't be restarted: it ends with the thump run, or the program, that has started it", node.Dir)
	}
	if free, ok := node.DiskFree(); ok && free < broker.DiskReserve {
		return fmt.Errorf("the private broker could not start again: %d MB are free on its disk, and it takes %d MB", free/1e6, uint64(broker.DiskReserve)/1e6)
	}
	starting, started := u.starting(ctx)
	defer started()
	u.errorf("%s RabbitMQ %s, process %d ...\n", doing, node.Version, node.PID)
	begin := time.Now()
	if err := end(); err != nil {
		return err
	}
	u.errorf("Starting RabbitMQ ...\n")
	back, err := broker.Start(starting, again)
	switch {
	case errors.Is(err, broker.ErrRunning):
		u.printf("RabbitMQ %s has ended, and another command has started it again.\n", node.Version)
		return nil
	case err != nil:
		u.errorf("The private broker is down; %s starts it.\n", startAgain(node, again))
		return u.orInterrupted(err)
	}
	where := "at the same ports"
	if back.URL != node.URL || back.StreamURL != node.StreamURL || back.ManagementURL != node.ManagementURL {
		where = "at new ports, with a new password, because another process has taken one of the old ones"
	}
	u.printf("RabbitMQ %s serves again, %s. It was away for %.1f s.\n", back.Version, where, time.Since(begin).Seconds())
	return nil
}

// startAgain is the command that starts the broker again.
func startAgain(node *broker.Node, again broker.Options) string {
	command := onBroker("start", node)
	if again.Server != "" {
		command += " --server " + again.Server
	}
	return command
}

// onBroker is thump broker's command for a broker, as its user would type it.
func onBroker(command string, node *broker.Node) string {
	command = "thump broker " + command
	if node.Dir != broker.DefaultDir() {
		command += " --dir " + node.Dir
	}
	return command
}
