package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// outputFlags say what to print, and where.
type outputFlags struct {
	json string
	save string

	metrics string // where to serve them

	managementURL string // what the record says of the broker comes from there

	quiet bool
}

func (f *outputFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.json, "json", "", `write the result as JSON to this file, {"version", "verdict", "runs": [...]}; "-" for standard output, where nothing else goes then`)
	flags.StringVar(&f.save, "save", "", "write the course of the work to this new file as it goes, a line of JSON for each second, and the result at its end; a killed command leaves what it has written")
	flags.StringVar(&f.metrics, "metrics", "", "serve figures to Prometheus at this address while the work goes on: a PORT of this machine alone, or HOST:PORT; port 0 is any that is free")
	flags.StringVar(&f.managementURL, "management-url", "", `whose figures of the broker go into the record: `+managementHelp+`; "none": nobody asks it`)
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print only the result, no settings and no progress")
}

// openJSON opens what --json names, before the work begins. It returns nil for "".
func (u *ui) openJSON(ctx context.Context, name string) (*file, error) {
	return u.openFile(ctx, "--json", name)
}

// openFile opens what a flag names, before the work begins. It returns nil for "".
func (u *ui) openFile(ctx context.Context, flag, name string) (*file, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		name = "/dev/stdout"
	}
	f, err := createFile(ctx, name, u.stdout, u.stderr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return f, nil
}

// printResult prints the text of a record, and writes the record as JSON if that was
// asked for. Where the JSON, or messages, take standard output, the text goes to standard error.
func (u *ui) printResult(ctx context.Context, json *file, text string, rec *result.Record) error {
	switch {
	case text == "": // the error says it all
	case u.data, json != nil && json.out == io.Writer(u.stdout):
		u.notef("\n%s", text)
	default:
		u.notef("\n")
		u.printf("%s", text)
	}
	if json == nil {
		return nil
	}
	if err := json.fill(ctx, rec.Write); err != nil {
		return u.orInterrupted(fmt.Errorf("--json: %w", err))
	}
	return nil
}

// verdictError is the error that a command with one run ends with: nil if the run is
// ok. ended is why the run ended early, or nil.
func verdictError(r *result.Run, ended error) error {
	switch r.Verdict {
	case result.OK:
		return nil
	case result.Violated:
		return fmt.Errorf("%w: %s", errViolated, *r.Reason)
	case result.Interrupted:
		return errInterrupted
	default:
		if ended != nil {
			return ended
		}
		return errors.New(*r.Reason)
	}
}
