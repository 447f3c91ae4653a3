// Command thump moves messages through RabbitMQ and accounts for every one.
//
// It is built on the public API of package thump alone; thump --help says what
// it can do.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes; every command's help has them, in exitCodesHelp.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitViolated    = 3
	exitInterrupted = 130
)

const exitCodesHelp = `
Exit codes:
  0    all is well
  1    failed
  2    wrong usage
  3    a message was lost, duplicated, corrupted or unexpected
  130  interrupted by Ctrl-C, after the summary
`

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

// faults makes one usage error of all that is wrong, in one line; nil of nothing.
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
	u := newUI(os.Stdout, os.Stderr)
	ctx, release := u.hearInterrupts()
	defer release()

	root := rootCommand(u)
	err := root.ExecuteContext(ctx)
	if failed := u.outputError(); failed != nil && (err == nil || errors.Is(err, errInterrupted)) {
		err = failed
	}
	if err == nil {
		return exitOK
	}
	// The library's errors begin with its name, which is the command's too.
	text := strings.ReplaceAll("thump: "+err.Error(), ": thump: ", ": ")
	u.errorf("%s\n", text)
	return exitCode(err)
}

func exitCode(err error) int {
	_, usage := errors.AsType[usageError](err)
	switch {
	case usage:
		return exitUsage
	case errors.Is(err, errViolated):
		return exitViolated
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	default:
		return exitFailed
	}
}

func rootCommand(u *ui) *cobra.Command {
	root := &cobra.Command{
		Use:   "thump",
		Short: "Send and receive messages through RabbitMQ, fast, and account for every one",
		Long: `thump moves messages through RabbitMQ as fast as RabbitMQ can take them, and
accounts for every one.

Where to connect: --url, else the environment's THUMP_URL, else the private
broker that thump broker start has started, else localhost:5672 as guest.
` + exitCodesHelp,
		Example: `  thump run                      a million messages through RabbitMQ and back
  thump send hello               the tutorial's producer
  thump receive hello            the tutorial's consumer
  thump broker start             a RabbitMQ of your own, on this machine only`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noArguments,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetOut(u.stdout)
	root.SetErr(u.stderr)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(runCommand(u), sendCommand(u), receiveCommand(u), brokerCommand(u))
	return root
}

// noArguments refuses arguments, and takes the first for a mistyped command
// where the command has subcommands.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return usagef("no command %q (see %s --help)", args[0], cmd.CommandPath())
	}
	return usagef("%s takes no arguments, and got %q", cmd.CommandPath(), args[0])
}

// version is the module's version as the build knows it, and what built it.
func version() string {
	v := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
	}
	return fmt.Sprintf("%s (%s %s/%s)", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
