package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
)

// workFlags adds the flags that say what consumers do with a message besides acking it.
func (cfg *config) workFlags(flags *pflag.FlagSet) {
	flags.Var((*workFlag)(&cfg.work), "work", "let each message take a consumer so long: 2ms, or 1ms..10ms at random; it is acked after that")
	flags.Var((*consumeRateFlag)(&cfg.work.Rate), "consume-rate", "let all consumers together take so many messages a second at most, like 500 or 5k (default: any number)")
	flags.Var((*shareFlag)(&cfg.work.Requeue), "requeue", "let consumers give back this share of deliveries, like 1%, which come again")
	flags.Var((*shareFlag)(&cfg.work.Reject), "reject", "let consumers reject this share of what they have received, like 1%")
}

// checkWork says what is wrong with the flags.
func (cfg *config) checkWork() error {
	switch w := &cfg.work; {
	case w.Requeue+w.Reject == 0:
		return nil
	case w.Requeue+w.Reject > shareMost:
		return fmt.Errorf("--requeue and --reject can't be more than %.0f%% together", 100*shareMost)
	case cfg.queue.AutoAck:
		return errors.New("--requeue and --reject can't go with --auto-ack: the broker has dropped a message as soon as it is sent")
	case cfg.kind.kind == kindStream || cfg.kind.kind == kindAll || cfg.streamName+cfg.superStream != "":
		return errors.New("--requeue and --reject are for queues: a stream keeps its messages")
	default:
		return nil
	}
}

// shareMost is the greatest share of deliveries that may go back: of more, hardly any would
// ever be received.
const shareMost = 0.9

// workFlag is the time that a message takes: of load.Work, Least and Most.
type workFlag load.Work

func (f *workFlag) Type() string { return "time" }

func (f *workFlag) String() string {
	switch {
	case f.Most == 0:
		return ""
	case f.Least == f.Most:
		return f.Least.String()
	default:
		return f.Least.String() + ".." + f.Most.String()
	}
}

func (f *workFlag) Set(text string) error {
	least, most, two := strings.Cut(text, "..")
	if !two {
		most = least
	}
	from, err := time.ParseDuration(least)
	to, err2 := time.ParseDuration(most)
	if errors.Join(err, err2) != nil || from < 0 || to <= 0 || from > to {
		return errors.New("must be a time like 2ms, or 1ms..10ms")
	}
	f.Least, f.Most = from, to
	return nil
}

// shareFlag is a share, from 0 to 1, that users write in percent.
type shareFlag float64

func (f *shareFlag) Type() string { return "percent" }

func (f *shareFlag) String() string {
	if *f == 0 {
		return ""
	}
	return fmt.Sprintf("%g%%", float64(*f)*100)
}

func (f *shareFlag) Set(text string) error {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) {
		return errors.New("must be a share like 1%")
	}
	*f = shareFlag(percent / 100)
	return nil
}

// consumeRateFlag is a number of messages a second; 0 only as a default.
type consumeRateFlag float64

func (f *consumeRateFlag) Type() string { return "rate" }

func (f *consumeRateFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*f), 'g', -1, 64)
}

func (f *consumeRateFlag) Set(text string) error {
	rate, err := load.ParseRate(text)
	if err != nil {
		return err
	}
	*f = consumeRateFlag(rate)
	return nil
}
