package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const repeatMost = 100

// severalFlags say how often run is to do its work, and beside what.
type severalFlags struct {
	repeat int
	versus string
}

func (f *severalFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.repeat, "repeat", 1, "do it so many times; five of each and more tell a difference from noise")
	flags.StringVar(&f.versus, "versus", "", `compare with a run that has these flags besides, as in "--prefetch 1"; by turns with --repeat`)
}

// several reports whether there is more than one run.
func (f *severalFlags) several() bool { return f.repeat > 1 || f.versus != "" }

func (f *severalFlags) check() error {
	if f.repeat < 1 || f.repeat > repeatMost {
		return fmt.Errorf("--repeat must be from 1 to %d, not %d", repeatMost, f.repeat)
	}
	return nil
}

// configurations are what run does: one, or that and what it is compared with, or all kinds.
func (cfg *config) configurations() ([]*config, error) {
	all := []*config{cfg}
	if cfg.several.versus != "" {
		other, err := cfg.other()
		if err != nil {
			return nil, fmt.Errorf("--versus: %w", err)
		}
		all = append(all, other)
	}
	var each []*config
	for _, one := range all {
		each = append(each, one.kinds()...)
	}
	return each, nil
}

// kinds are the configurations that --kind all stands for; else cfg itself.
func (cfg *config) kinds() []*config {
	if cfg.kind.kind != kindAll {
		return []*config{cfg}
	}
	var all []*config
	for _, kind := range []string{kindClassic, kindQuorum, kindStream} {
		one := *cfg
		one.kind.kind = kind
		one.choosePlace(cfg.queueName + "-" + kind)
		all = append(all, &one)
	}
	return all
}

// other is the configuration that --versus says: this one, with other flags besides.
func (cfg *config) other() (*config, error) {
	other := &config{command: cfg.command, connect: cfg.connect, recovery: cfg.recovery, output: cfg.output, private: cfg.private, keep: cfg.keep}
	other.flags = pflag.NewFlagSet("--versus", pflag.ContinueOnError)
	other.flags.Usage = func() {}
	other.loadFlags(other.flags)
	var err error
	other.flags.VisitAll(func(f *pflag.Flag) {
		of := cfg.flags.Lookup(f.Name)
		if !of.Changed || err != nil {
			return
		}
		if list, ok := of.Value.(pflag.SliceValue); ok {
			err = f.Value.(pflag.SliceValue).Replace(list.GetSlice())
			f.Changed = true
			return
		}
		err = other.flags.Set(f.Name, of.Value.String())
	})
	if err != nil {
		return nil, err
	}
	if err := other.flags.Parse(strings.Fields(cfg.several.versus)); err != nil {
		return nil, err
	}
	if other.flags.NArg() > 0 {
		return nil, fmt.Errorf("it has flags of the load only, and got %q", other.flags.Arg(0))
	}
	other.choosePlace(other.queueName)
	return other, faults(other.checkRun(), other.checkRouting(), other.checkPlace(), other.checkSending(), other.checkReceiving(), other.checkWork())
}

// runSeveral runs each configuration, by turns and as often as was asked for: forth and back, so
// that what the machine does meanwhile is no advantage of one of them. Then it prints one table
// of all, or a comparison.
func runSeveral(ctx context.Context, cfg *config, each []*config, o *opened, u *ui) error {
	if err := checkDisks(each, o); err != nil {
		return err
	}
	var runs []*result.Run
	var failed error // the first
	for _, c := range each {
		c.again = true
	}
	for round := range cfg.several.repeat {
		turn := slices.Clone(each)
		if round%2 == 1 {
			slices.Reverse(turn)
		}
		for _, c := range turn {
			one := runThrough(ctx, c, o, u)
			if !one.began && errors.Is(u.orInterrupted(one.ended), errInterrupted) {
				one.sayCleanup(u)
				break
			}
			runs = append(runs, one.record)
			name := fmt.Sprintf("run %d of %d", len(runs), cfg.several.repeat*len(each))
			if cfg.kind.kind == kindAll {
				name = c.kind.kind
			}
			u.notef("\n%s: %s\n\n", name, report.Verdict(one.record))
			if err := errors.Join(verdictError(one.record, one.ended), one.cleanupErr); err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", name, err)
			}
			if u.stopping() {
				break
			}
		}
		if u.stopping() {
			break
		}
	}
	if len(runs) == 0 {
		return errInterrupted
	}
	rec := result.New(runs...)
	return o.finish(ctx, severalText(cfg, rec), rec, recordError(rec, failed))
}

// severalText is the answer of several runs.
func severalText(cfg *config, rec *result.Record) string {
	if !cfg.several.several() { // each kind once
		return report.Table(rec)
	}
	return report.Runs(compare.Groups(compare.Source{Runs: rec.Runs}))
}

// checkDisks refuses streams that have no room: better now than minutes later.
func checkDisks(each []*config, o *opened) error {
	for _, c := range each {
		work := c.sending()
		if err := c.place.checkDisk(o.conn, &work, new(result.Settings)); err != nil {
			return err
		}
	}
	return nil
}
