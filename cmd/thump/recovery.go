package main

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/cmd/thump/internal/watch"
)

// giveUpDefault is how long a command waits for a broker that is away: a restart of
// RabbitMQ takes some ten seconds.
const giveUpDefault = 60 * time.Second

// recoveryFlags say what a command does in an outage.
type recoveryFlags struct {
	off    bool
	giveUp time.Duration
}

func (f *recoveryFlags) register(flags *pflag.FlagSet) {
	f.giveUp = giveUpDefault
	flags.BoolVar(&f.off, "no-recovery", false, "end when a connection is lost, instead of connecting again and sending again what was not confirmed")
	flags.Var((*giveUpFlag)(&f.giveUp), "give-up", "fail when the broker has been away for this long, like 5m; 0 for never")
}

func (f *recoveryFlags) check(given func(flag string) bool) error {
	if f.off && given("give-up") {
		return errors.New("--give-up has no meaning with --no-recovery: nothing is waited for")
	}
	return nil
}

func (f *recoveryFlags) recovery() thump.Recovery {
	return thump.Recovery{Off: f.off, GiveUp: f.giveUp}
}

func (f *recoveryFlags) describe(s *result.Settings) {
	if s.Recovery = !f.off; s.Recovery {
		s.GiveUpSeconds = f.giveUp.Seconds()
	}
}

// giveUpFlag is a time, 0 for none.
type giveUpFlag time.Duration

func (f *giveUpFlag) Type() string   { return "duration" }
func (f *giveUpFlag) String() string { return time.Duration(*f).String() }

func (f *giveUpFlag) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("must be a time like 60s or 5m, or 0 for never")
	}
	*f = giveUpFlag(d)
	return nil
}

// listener hears what happens to the connections of a client, for the work that is being
// done.
type listener struct {
	progress atomic.Pointer[load.Progress]
	watch    atomic.Pointer[watch.Watch]
}

// hear is for thump.Config.OnEvent.
func (l *listener) hear(e thump.Event) {
	if p := l.progress.Load(); p != nil {
		p.Tell(e)
	}
	if w := l.watch.Load(); w != nil {
		w.Tell(e)
	}
}
