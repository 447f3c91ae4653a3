package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
)

// rateFlags say when messages are sent, if not as fast as possible.
type rateFlags struct {
	rate     scheduleFlag
	poisson  arrivalsFlag
	duration durationFlag
	warmUp   durationFlag
}

func (f *rateFlags) register(flags *pflag.FlagSet) {
	flags.Var(&f.rate, "rate", "send so many messages a second in all, each when it is due: 500, 5k; in steps 1k:10s,5k:30s; growing 1k..20k:60s (default: as fast as possible)")
	flags.Var(&f.poisson, "arrivals", `with --rate: "even", or "poisson" for messages that come as if from very many who know nothing of each other`)
	flags.Var(&f.duration, "duration", "send for so long, like 30s or 5m (default: until --count)")
	flags.Var(&f.warmUp, "warm-up", "leave what is sent in this time, at the beginning, out of rates and latencies; it is accounted for")
}

// check says what is wrong with the flags.
func (f *rateFlags) check(given func(string) bool) error {
	if f.rate.schedule == nil && given("arrivals") {
		return errors.New("--arrivals is for --rate: without it messages are sent as fast as possible")
	}
	end := time.Duration(f.duration)
	if end == 0 && f.rate.schedule != nil {
		end = f.rate.schedule.Length()
	}
	if end > 0 && time.Duration(f.warmUp) >= end {
		return fmt.Errorf("--warm-up %v must end before the sending does, which takes %v", time.Duration(f.warmUp), end)
	}
	return nil
}

// apply makes it the way in which messages are sent. counted says that their number was asked
// for; else the time ends the sending, where there is one.
func (f *rateFlags) apply(send *load.SendConfig, counted bool) {
	send.Schedule, send.Duration, send.WarmUp = f.rate.schedule, time.Duration(f.duration), time.Duration(f.warmUp)
	if send.Schedule == nil {
		if send.Duration > 0 && !counted {
			send.Count = 0
		}
		return
	}
	if f.poisson {
		send.Schedule = send.Schedule.Poisson(rand.Uint64())
	}
	if send.Duration == 0 {
		send.Duration = send.Schedule.Length()
	}
	if most := send.Schedule.Count(send.Duration); most < math.MaxUint64 && (!counted || most < send.Count) {
		send.Count = max(1, most)
	}
}

// scheduleFlag is one rate or several; nil for none.
type scheduleFlag struct{ schedule *load.Schedule }

func (f *scheduleFlag) Type() string { return "rate" }

func (f *scheduleFlag) String() string {
	if f.schedule == nil {
		return ""
	}
	return f.schedule.String()
}

func (f *scheduleFlag) Set(text string) (err error) {
	f.schedule, err = load.ParseSchedule(text)
	return err
}

// arrivalsFlag is whether messages come as a Poisson process has it, and not evenly.
type arrivalsFlag bool

func (f *arrivalsFlag) Type() string { return "even|poisson" }

func (f *arrivalsFlag) String() string {
	if *f {
		return "poisson"
	}
	return "even"
}

func (f *arrivalsFlag) Set(text string) error {
	switch text {
	case "even", "poisson":
		*f = text == "poisson"
		return nil
	}
	return errors.New("must be even or poisson")
}
