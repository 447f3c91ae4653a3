// Command thump moves messages through RabbitMQ and accounts for every one.
//
// It is built on the public API of package thump alone; thump --help says what
// it can do.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/internal/broker"
)

// Exit codes. Every command's help lists them, in exitCodesHelp, and report's those that it has.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitViolated    = 3
	exitFailIf      = 4
	exitSignal      = 128 // and the number of the signal
	exitInterrupted = 130
)

const (
	exitCodesHelp = exitCodesBegin + `  3    a message was lost, duplicated, corrupted or unexpected
` + exitCodesEnd

	exitCodesBegin = `
Exit codes:
  0    all is well
  1    failed
  2    wrong usage
`
	exitCodesEnd = `  4    a figure is as --fail-if says that it must not be
  129  ended by SIGHUP, within 8 s, with the summary if there is time
  130  interrupted by Ctrl-C, after the summary
  143  ended by SIGTERM, within 8 s, with the summary if there is time
`
)

var (
	// errViolated ends a command whose result has said what is wrong.
	errViolated = errors.New("a message was lost, duplicated, corrupted or unexpected")
	// errInterrupted ends a command that the user stopped.
	errInterrupted = errors.New("interrupted")
)

// usageError is a fault in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// faults joins everything that is wrong into one usage error, in one line. It returns
// nil if nothing is wrong.
func faults(errs ...error) error {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return usageError{errors.New(strings.Join(texts, "; "))}
}

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() { os.Exit(execute()) }

// execute runs the command line and returns the exit code.
func execute() int {
	log.SetOutput(io.Discard) // where net/http writes what a stranger has sent
	u := newUI(os.Stdout, os.Stderr)
	ctx, release := u.catchInterrupts()
	defer release()

	root := rootCommand(u)
	err := root.ExecuteContext(ctx)
	if failed := u.outputError(); failed != nil && (err == nil || errors.Is(err, errInterrupted)) {
		err = failed
	}
	if err == nil {
		return exitOK
	}
	u.errorf("%s\n", errorText(err))
	code := exitCode(err)
	if code == exitInterrupted {
		code = u.interruptedCode()
	}
	return code
}

// errorText is an error as the command says it: after its name. An error of the library
// begins with that name already, once; where the command says more about it, the name
// is in the middle, and goes. A URL of the command line is not repeated, whatever it was
// taken for.
func errorText(err error) string {
	text := strings.ReplaceAll("thump: "+err.Error(), ": thump: ", ": ")
	return withoutURLs(text, append([]string{os.Getenv("THUMP_HOME")}, os.Args[1:]...))
}

func exitCode(err error) int {
	_, usage := errors.AsType[usageError](err)
	switch {
	case usage:
		return exitUsage
	case errors.Is(err, errViolated):
		return exitViolated
	case errors.Is(err, errFailIf):
		return exitFailIf
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	default:
		return exitFailed
	}
}

// checkHome returns an error if THUMP_HOME can't be what it says: a relative one would be
// another in each working folder.
func checkHome() error {
	home := os.Getenv("THUMP_HOME")
	if home == "" {
		return nil
	}
	if !filepath.IsAbs(home) {
		return usagef("THUMP_HOME is %q, but must be an absolute path", home)
	}
	if err := broker.CheckDir(home); err != nil {
		return usageError{fmt.Errorf("THUMP_HOME: %w", err)}
	}
	return nil
}

func rootCommand(u *ui) *cobra.Command {
	root := &cobra.Command{
		Use:   "thump",
		Short: "Send and receive messages through RabbitMQ, fast, and account for every one",
		Long: `thump moves messages through RabbitMQ as fast as RabbitMQ can take them, and
accounts for every one.

It connects to --url (or --at, --url-file, --url-command), else to THUMP_URL in the
environment (or THUMP_AT, THUMP_URL_FILE, THUMP_URL_COMMAND), else to the private broker that
thump broker start has started, else to localhost:5672 as guest.
Other users of this machine can read --url in its process list, with the password:
THUMP_URL, --url-file and --url-command keep it from them.
` + exitCodesHelp,
		Example: `  thump run                      a million messages through RabbitMQ and back
  thump send orders lines.txt    a message for each line of a file
  thump receive orders           shows the messages of a queue, and takes them
  thump send hello               the tutorial's producer
  thump receive hello --discard  the tutorial's consumer
  thump queue list               queues, and what is in them
  thump move orders orders-v2    every message, to another queue, stream or broker
  thump broker start             a RabbitMQ of your own, on this machine only`,
		Version:       thumpVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return faults(checkURLs(cmd), checkHome(), readVariables(cmd))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(u.stdout)
	root.SetErr(u.stderr)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(
		runCommand(u), sendCommand(u), receiveCommand(u), reportCommand(u),
		peekCommand(u), dumpCommand(u), restoreCommand(u), moveCommand(u), redriveCommand(u),
		queueCommand(u), streamCommand(u), exchangeCommand(u), brokerCommand(u),
		completionCommand(u), manCommand(u), licensesCommand(u),
	)
	completeNames(u, root)
	return root
}

// noArguments refuses arguments. If the command has subcommands, the first is most
// likely one of them with a typing mistake.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case isURL(args[0]):
		return misplaced("an argument of " + cmd.CommandPath())
	case cmd.HasSubCommands():
		return usagef("no command %q (see %s --help)", args[0], cmd.CommandPath())
	}
	return usagef("%s takes no arguments, and got %q", cmd.CommandPath(), args[0])
}

// thumpVersion is the module's version, if the build knows it, and what built it.
func thumpVersion() string {
	v := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
	}
	return fmt.Sprintf("%s (%s %s/%s)", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
