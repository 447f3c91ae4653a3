package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
)

func brokerCommand(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "A RabbitMQ of your own on this machine: start, status, stop, restart, kill, pause, resume, logs, clean",
		Long: `broker starts and stops a private RabbitMQ: the one that is installed, with its
own data, ports, user and password, reachable from this machine only. It never
touches a RabbitMQ that is already there. thump run, send and receive find it by
themselves. restart, kill, pause and resume show what an outage does to them, and to
programs of yours.
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
		dir := cmp.Or(dir, broker.DefaultDir())
		if dir == "" {
			return "", usagef("this user has no home for the broker's folder: name one with --dir")
		}
		if err := broker.CheckDir(dir); err != nil {
			return "", usageError{err}
		}
		return dir, nil
	}
	cmd.AddCommand(brokerStartCommand(u, folder), brokerStatusCommand(u, folder),
		brokerStopCommand(u, folder), brokerRestartCommand(u, folder), brokerKillCommand(u, folder),
		brokerPauseCommand(u, folder), brokerResumeCommand(u, folder),
		brokerLogsCommand(u, folder), brokerCleanCommand(u, folder))
	return cmd
}

// usualParent is the folder of this user's brokers: the one that he starts, and those of
// single runs.
func usualParent() (string, error) {
	usual := broker.DefaultDir()
	if usual == "" {
		return "", usagef("this user has no home for brokers: set THUMP_HOME")
	}
	return filepath.Dir(usual), nil
}

func brokerStartCommand(u *ui, folder func() (string, error)) *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start the private broker, and wait until it serves",
		Long: `start starts a private RabbitMQ and returns when it serves. It runs until
thump broker stop. If it is running already, start leaves it as it is. A folder has
one broker at a time, also where containers or hosts share it: if its broker runs
elsewhere, start fails and says where.

First it removes what killed runs have left, as thump broker clean does.
` + exitCodesHelp,
		Example: `  thump broker start
  thump broker start --server /opt/rabbitmq_server-4.3.0`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := folder()
			if err != nil {
				return err
			}
			if parent, err := usualParent(); err == nil {
				cleanLeftovers(u, parent)
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
		if node, err := broker.Open(o.Dir); err == nil && node.Paused() {
			u.printf("The private broker is running already, and is paused: %s lets it go on.\n", onBroker("resume", node))
			return nil
		}
		u.printf("The private broker is running already.\n")
		return nil
	}
	if err != nil {
		return u.orInterrupted(err)
	}
	u.printf("RabbitMQ %s runs after %.1f s, for this machine only. thump broker stop ends it.\n",
		node.Version, time.Since(begin).Seconds())
	return nil
}

func brokerStatusCommand(u *ui, folder func() (string, error)) *cobra.Command {
	var urlOnly, streamURLOnly, all bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether the private broker runs, and where",
		Long: `status says whether the private broker runs, and where. It fails if the broker does
not run, or does not serve, as one that is paused. With --url it prints only the AMQP
URL, and with --stream-url only the URL for streams, both with the password; nothing
where another user has taken a port of the broker. With --all it lists all brokers of
this user: the one of thump broker start, those of single runs, and what is left of any
that nobody has stopped.
` + exitCodesHelp,
		Example: `  thump broker status
  thump broker status --all
  AMQP_URL="$(thump broker status --url)"
  STREAM_URL="$(thump broker status --stream-url)"`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case urlOnly && streamURLOnly:
				return usagef("--url can't go with --stream-url: each prints only its own")
			case all && (urlOnly || streamURLOnly || cmd.Flags().Changed("dir")):
				return usagef("--all can't go with --url, --stream-url or --dir: those are of one broker")
			case all:
				return brokerStatusAll(cmd.Context(), u)
			}
			dir, err := folder()
			if err != nil {
				return err
			}
			node, err := broker.Open(dir)
			if err != nil {
				return err
			}
			if !urlOnly && !streamURLOnly {
				return brokerStatus(cmd.Context(), node, u)
			}
			// Whoever asks gives the password to what listens there.
			if err := node.Ready(cmd.Context()); err != nil {
				return fmt.Errorf("the private broker runs, but does not serve (yet): %w", err)
			}
			url := node.URL
			if streamURLOnly {
				url = node.StreamURL
			}
			u.printf("%s\n", url)
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list all brokers of this user, running or not")
	cmd.Flags().BoolVar(&urlOnly, "url", false, "print only the AMQP URL, for scripts")
	cmd.Flags().BoolVar(&streamURLOnly, "stream-url", false, "print only the URL for streams, for scripts")
	return cmd
}

func brokerStatus(ctx context.Context, node *broker.Node, u *ui) error {
	endpoint, err := thump.ParseURL(node.URL)
	if err != nil {
		return fmt.Errorf("the private broker's own URL: %w", err)
	}
	streams, err := thump.ParseURL(node.StreamURL)
	if err != nil {
		return fmt.Errorf("the private broker's own URL for streams: %w", err)
	}
	state := "serves"
	notReady := node.Ready(ctx)
	if notReady != nil {
		state = "runs, but does not serve (yet)"
	}
	if errors.Is(notReady, broker.ErrPaused) {
		state = "is paused"
	}
	u.printf("RabbitMQ %s %s\n", node.Version, state)
	u.printf("  url      %s\n", endpoint)
	u.printf("  streams  %s\n", streams)
	u.printf("  process  %d, since %s\n", node.PID, node.StartedAt.Format(time.DateTime))
	u.printf("  folder   %s\n", node.Dir)
	return notReady
}

// brokerStatusAll prints a line for each broker of this user.
func brokerStatusAll(ctx context.Context, u *ui) error {
	parent, err := usualParent()
	if err != nil {
		return err
	}
	dirs, err := broker.Folders(parent)
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		u.printf("There is no private broker in %s.\n", parent)
	}
	var failed []error
	for _, dir := range dirs {
		found, err := broker.Look(dir)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		u.printf("%s: %s\n", found.Dir, foundText(ctx, found))
	}
	return errors.Join(failed...)
}

// foundText says in one line how a broker is.
func foundText(ctx context.Context, found broker.Found) string {
	of := ""
	if found.Temporary {
		of = ", of a single run"
	}
	switch {
	case found.Node != nil:
		state := "serves"
		switch err := found.Node.Ready(ctx); {
		case errors.Is(err, broker.ErrPaused):
			state = "is paused"
		case err != nil:
			state = "does not serve (yet)"
		}
		return fmt.Sprintf("RabbitMQ %s %s%s, process %d, since %s",
			found.Node.Version, state, of, found.Node.PID, found.Node.StartedAt.Format(time.DateTime))
	case found.Elsewhere != nil:
		return fmt.Sprintf("runs elsewhere%s: on host %s, process %d there, since %s",
			of, found.Elsewhere.Host, found.Elsewhere.PID, found.Elsewhere.Since.Format(time.DateTime))
	case found.Busy:
		return "starts or ends just now" + of
	case found.Abandoned:
		text := "has ended without being stopped" + of
		if !found.Since.IsZero() {
			text += fmt.Sprintf(", on host %s, started %s", found.Host, found.Since.Format(time.DateTime))
		}
		if found.Temporary {
			return text + "; thump broker clean removes what is left"
		}
		return text + "; thump broker clean ends what is left"
	default:
		return "stopped"
	}
}

func brokerStopCommand(u *ui, folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the private broker",
		Long: `stop stops the private broker in order, and returns when none of its processes is
left. Its queues and messages stay in its folder for the next start. It stops a
paused one too. If none is running, that is no failure. If it has ended without being
stopped, stop says so, and ends what is left of it, and it removes what killed runs
have left, as thump broker clean does.
` + exitCodesHelp,
		Example: `  thump broker stop`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := folder()
			if err != nil {
				return err
			}
			if err := brokerStop(cmd.Context(), dir, u); err != nil {
				return err
			}
			if parent, err := usualParent(); err == nil {
				cleanLeftovers(u, parent)
			}
			return nil
		},
	}
}

func brokerStop(ctx context.Context, dir string, u *ui) error {
	node, err := broker.Open(dir)
	switch {
	case err == nil:
		if err := node.Stop(ctx); err != nil {
			return err
		}
		u.printf("RabbitMQ %s has stopped.\n", node.Version)
		return nil
	case !errors.Is(err, broker.ErrNotRunning):
		return err
	}
	u.printf("No private broker is running.\n")
	left, err := broker.Clean(dir, true)
	if left != nil {
		u.printf("%s\n", leftoverText(left))
	}
	return err
}

func brokerCleanCommand(u *ui, folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "clean",
		Short: "Remove what killed private brokers have left",
		Long: `clean ends and removes what is left of private brokers that nobody has stopped,
because they, their thump run or the whole machine was killed: the folders of single
runs, and processes. It says what it has removed.

It touches nothing that runs, and no folder that thump has not made. The folder of a
broker that thump broker start has started stays, with its queues and messages, and so
does the folder of one kept by run --keep. Without --dir it looks at all brokers of
this user, which thump broker status --all lists.

thump broker start, thump broker stop and a thump run that starts a broker do the
same by themselves, but for what another host has left in a folder that hosts share.
` + exitCodesHelp,
		Example: `  thump broker status --all
  thump broker clean
  thump broker clean --dir /var/tmp/broker`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var dirs []string
			if cmd.Flags().Changed("dir") {
				dir, err := folder()
				if err != nil {
					return err
				}
				dirs = []string{dir}
			} else {
				parent, err := usualParent()
				if err != nil {
					return err
				}
				if dirs, err = broker.Folders(parent); err != nil {
					return err
				}
			}
			return brokerClean(dirs, u)
		},
	}
}

func brokerClean(dirs []string, u *ui) error {
	var failed []error
	found := false
	for _, dir := range dirs {
		left, err := broker.Clean(dir, true)
		if err != nil {
			failed = append(failed, err)
		}
		if left != nil {
			found = true
			u.printf("%s\n", leftoverText(left))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if !found {
		u.printf("There is nothing to clean.\n")
	}
	return nil
}

// cleanLeftovers cleans what this host's killed commands have left in parent, and says
// so. What goes wrong there stops nobody from something else.
func cleanLeftovers(u *ui, parent string) {
	dirs, err := broker.Folders(parent)
	if err != nil {
		u.errorf("%s\n", errorText(err))
	}
	for _, dir := range dirs {
		left, err := broker.Clean(dir, false)
		if err != nil {
			u.errorf("%s\n", errorText(err))
		}
		if left != nil {
			u.errorf("%s\n", leftoverText(left))
		}
	}
}

// leftoverText says what Clean has found and done.
func leftoverText(left *broker.Leftover) string {
	text := fmt.Sprintf("RabbitMQ in %s has ended without being stopped", left.Dir)
	if left.Removed {
		text = fmt.Sprintf("Removed %s, which a killed run has left", left.Dir)
	}
	if !left.Since.IsZero() {
		text += fmt.Sprintf(" (host %s, started %s)", left.Host, left.Since.Format(time.DateTime))
	}
	if len(left.Ended) > 0 {
		text += fmt.Sprintf("; ended what was left of it: process %s", strings.Trim(fmt.Sprint(left.Ended), "[]"))
	}
	return text + "."
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
			log, err := broker.OpenLog(dir)
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
