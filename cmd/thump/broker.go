package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
)

func brokerCommand(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "A RabbitMQ of your own on this machine: start, status, stop, logs",
		Long: `broker starts and stops a private RabbitMQ: the one that is installed, with its
own data, ports, user and password, reachable from this machine only. It never
touches a RabbitMQ that is there already. thump run, send and receive find it by
themselves.
` + exitCodesHelp,
		Example: `  thump broker start
  thump run
  thump broker status --url
  thump broker stop`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var dir string
	cmd.PersistentFlags().StringVar(&dir, "dir", "", "the broker's folder (default: this user's own)")
	folder := func() (string, error) {
		if dir != "" {
			return dir, nil
		}
		if usual := broker.DefaultDir(); usual != "" {
			return usual, nil
		}
		return "", usagef("this user has no home for the broker's folder: --dir names one")
	}
	cmd.AddCommand(brokerStartCommand(u, folder), brokerStatusCommand(u, folder),
		brokerStopCommand(u, folder), brokerLogsCommand(u, folder))
	return cmd
}

func brokerStartCommand(u *ui, folder func() (string, error)) *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start the private broker, and wait until it serves",
		Long: `start starts a private RabbitMQ and returns when it serves. It goes on running
until thump broker stop. One that is running already is left as it is.
` + exitCodesHelp,
		Example: `  thump broker start
  thump broker start --server /opt/rabbitmq_server-4.3.0`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := folder()
			if err != nil {
				return err
			}
			return brokerStart(cmd.Context(), broker.Options{Dir: dir, Server: server}, u)
		},
	}
	cmd.Flags().StringVar(&server, "server", "", "the rabbitmq-server to run, or the folder of a RabbitMQ (default: the installed one)")
	return cmd
}

func brokerStart(ctx context.Context, o broker.Options, u *ui) error {
	starting, started := u.starting(ctx)
	defer started()
	u.errorf("Starting RabbitMQ ...\n")
	begin := time.Now()
	node, err := broker.Start(starting, o)
	if errors.Is(err, broker.ErrRunning) {
		u.printf("The private broker is running already.\n")
		return nil
	}
	if err != nil {
		return orInterrupted(u, err)
	}
	u.printf("RabbitMQ %s runs after %.1f s, for this machine only. thump broker stop ends it.\n",
		node.Version, time.Since(begin).Seconds())
	return nil
}

func brokerStatusCommand(u *ui, folder func() (string, error)) *cobra.Command {
	var urlOnly, streamURLOnly bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether the private broker runs, and where",
		Long: `status says whether the private broker runs, and where; it fails where it does
not. With --url it prints nothing but the AMQP URL, password included, and with
--stream-url the one of streams.
` + exitCodesHelp,
		Example: `  thump broker status
  AMQP_URL="$(thump broker status --url)"
  STREAM_URL="$(thump broker status --stream-url)"`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if urlOnly && streamURLOnly {
				return usagef("--url can't go with --stream-url: each prints nothing but its own")
			}
			dir, err := folder()
			if err != nil {
				return err
			}
			node, err := broker.Open(dir)
			if err != nil {
				return err
			}
			switch {
			case urlOnly:
				u.printf("%s\n", node.URL)
				return nil
			case streamURLOnly:
				u.printf("%s\n", node.StreamURL)
				return nil
			}
			return brokerStatus(cmd.Context(), node, u)
		},
	}
	cmd.Flags().BoolVar(&urlOnly, "url", false, "print the AMQP URL alone, for scripts")
	cmd.Flags().BoolVar(&streamURLOnly, "stream-url", false, "print the URL of streams alone, for scripts")
	return cmd
}

func brokerStatus(ctx context.Context, node *broker.Node, u *ui) error {
	endpoint, err := thump.ParseURL(node.URL)
	if err != nil {
		return fmt.Errorf("the private broker's own URL: %w", err)
	}
	streams, err := thump.ParseURL(node.StreamURL)
	if err != nil {
		return fmt.Errorf("the private broker's own URL of streams: %w", err)
	}
	state := "serves"
	notReady := node.Ready(ctx)
	if notReady != nil {
		state = "runs, and does not serve (yet)"
	}
	u.printf("RabbitMQ %s %s\n", node.Version, state)
	u.printf("  url      %s\n", endpoint)
	u.printf("  streams  %s\n", streams)
	u.printf("  process  %d, since %s\n", node.PID, node.StartedAt.Format(time.DateTime))
	u.printf("  folder   %s\n", node.Dir)
	return notReady
}

func brokerStopCommand(u *ui, folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the private broker",
		Long: `stop stops the private broker in order, and returns when no process of it is
left. Its queues and messages stay in its folder for the next start. It is no
failure where none is running.
` + exitCodesHelp,
		Example: `  thump broker stop`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := folder()
			if err != nil {
				return err
			}
			node, err := broker.Open(dir)
			if errors.Is(err, broker.ErrNotRunning) {
				u.printf("No private broker is running.\n")
				return nil
			}
			if err != nil {
				return err
			}
			if err := node.Stop(cmd.Context()); err != nil {
				return err
			}
			u.printf("RabbitMQ %s has stopped.\n", node.Version)
			return nil
		},
	}
}

func brokerLogsCommand(u *ui, folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:     "logs",
		Short:   "Print the private broker's log",
		Long:    "logs prints the log of the private broker, running or not.\n" + exitCodesHelp,
		Example: `  thump broker logs | tail`,
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			dir, err := folder()
			if err != nil {
				return err
			}
			log, err := os.Open(broker.LogFile(dir))
			if errors.Is(err, fs.ErrNotExist) {
				return errors.New("there is no log: no private broker has been started")
			}
			if err != nil {
				return fmt.Errorf("the private broker's log: %w", err)
			}
			defer log.Close()
			if _, err := io.Copy(u.stdout, log); err != nil && u.outputError() == nil {
				return fmt.Errorf("the private broker's log: %w", err)
			}
			return nil
		},
	}
}
