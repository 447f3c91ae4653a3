package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/internal/report"
	"github.com/thumpmq/thump/internal/result"
)

// runAll runs the same load through a classic queue, a quorum queue and a
// stream, one after another, and prints one table of all.
func runAll(ctx context.Context, cfg *runConfig, conn *connection, json *jsonFile, u *ui) error {
	var runs []*result.Result
	var failed error // the first
	for _, kind := range []string{kindClassic, kindQuorum, kindStream} {
		one := *cfg
		one.places.kind.kind = kind
		one.name = cfg.name + "-" + kind
		if kind == kindClassic {
			// Minutes before the stream's turn, not after them.
			stream := one
			stream.places.kind.kind = kindStream
			if _, err := stream.disk(conn); err != nil {
				return err
			}
		}
		done, err := one.once(ctx, conn, u)
		if err != nil && errors.Is(orInterrupted(u, err), errInterrupted) {
			break
		}
		if err != nil {
			done.record, done.ended = one.notBegun(conn, err), err
		}
		runs = append(runs, done.record)
		u.notef("\n%s: %s\n\n", kind, report.Verdict(done.record))
		if err := errors.Join(verdictError(done.record, done.ended), done.leaving); err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", kind, err)
		}
		if u.stopping() {
			break
		}
	}
	if len(runs) == 0 {
		return errInterrupted
	}
	set := result.NewSet(runs)
	if err := printResult(u, json, set, report.Table(set)); err != nil {
		return err
	}
	return setError(set, failed)
}

// notBegun is the record of a run that could not begin.
func (cfg *runConfig) notBegun(conn *connection, err error) *result.Result {
	work := cfg.work(nil)
	r := newRecord("run", conn, &prepared{place: work.To, kind: cfg.places.kind.kind})
	cfg.putSettings(&r.Settings, &work)
	r.Judge(err, false)
	return r
}

// setError is the error that ends a command with the given records, of which
// failed is the first that was not ok.
func setError(set *result.Set, failed error) error {
	switch set.Verdict {
	case result.Violated:
		return errViolated
	case result.Interrupted:
		return errInterrupted
	default:
		return failed
	}
}

// wrongForAll says which flags were given that mean nothing for a queue or for a
// stream, where both have to be alike; of others, what is given is for those it
// has a meaning for.
func wrongForAll(flags *pflag.FlagSet) error {
	for _, name := range []string{"transient", "no-confirms", "auto-ack"} {
		if flags.Changed(name) {
			return fmt.Errorf("--%s can't go with --kind all: it has no meaning for a stream", name)
		}
	}
	return nil
}
