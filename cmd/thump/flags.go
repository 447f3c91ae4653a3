package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/internal/load"
)

const (
	countDefault    = 1_000_000 // the tutorial's
	queueDefault    = "hello"   // the tutorial's
	windowDefault   = 10_000
	windowOfStream  = 100_000
	windowMax       = 1 << 20 // what a Publisher accepts
	prefetchDefault = 2_000
	prefetchMax     = math.MaxUint16 // basic.qos has 16 bits for it
	bodySizeMax     = 512 << 20      // more than any RabbitMQ takes
	clientsMax      = 1000
)

// sendFlags say what to send.
type sendFlags struct {
	count      countFlag
	body       bodyFlag
	publishers int
	window     int
	noConfirms bool
}

func (f *sendFlags) register(flags *pflag.FlagSet) {
	f.count = countDefault
	flags.Var(&f.count, "count", "messages to send, in all (1000000, 10k, 1m)")
	flags.Var(&f.body, "body", `bodies: "tutorial" for "Message N", or a size of at least 16 bytes (100, 1KiB, 10kb)`)
	flags.IntVar(&f.publishers, "publishers", 1, "publishers, each on a connection of its own")
	flags.IntVar(&f.window, "window", windowDefault, "messages that may await their confirm, for each publisher; of a stream 100000")
	flags.BoolVar(&f.noConfirms, "no-confirms", false, "don't ask the broker to confirm messages")
}

func (f *sendFlags) check(flags *pflag.FlagSet) error {
	switch {
	case f.publishers < 1 || f.publishers > clientsMax:
		return fmt.Errorf("--publishers must be from 1 to %d, not %d", clientsMax, f.publishers)
	case f.window < 1 || f.window > windowMax:
		return fmt.Errorf("--window must be from 1 to %d, not %d", windowMax, f.window)
	case f.noConfirms && flags.Changed("window"):
		return errors.New("--window has no meaning with --no-confirms: it counts messages that await their confirm")
	}
	return nil
}

// config returns what the flags, of which some were given, ask for.
func (f *sendFlags) config(to load.Place, given *pflag.FlagSet, progress *load.Progress) load.SendConfig {
	window := f.window
	if to.Streams() && !given.Changed("window") {
		window = windowOfStream
	}
	return load.SendConfig{
		To: to, Count: uint64(f.count), Publishers: f.publishers,
		BodyBytes: int(f.body), RunID: rand.Uint32(),
		Window: window, NoConfirms: f.noConfirms, Progress: progress,
	}
}

// receiveFlags say how to receive.
type receiveFlags struct {
	consumers int
	prefetch  int
	autoAck   bool
}

func (f *receiveFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.consumers, "consumers", 1, "consumers, each on a connection of its own")
	flags.IntVar(&f.prefetch, "prefetch", prefetchDefault, "messages that may await their ack, for each consumer")
	flags.BoolVar(&f.autoAck, "auto-ack", false, "let the broker forget a message as soon as it is sent")
}

func (f *receiveFlags) check(flags *pflag.FlagSet) error {
	switch {
	case f.consumers < 1 || f.consumers > clientsMax:
		return fmt.Errorf("--consumers must be from 1 to %d, not %d", clientsMax, f.consumers)
	case f.prefetch < 1 || f.prefetch > prefetchMax:
		return fmt.Errorf("--prefetch must be from 1 to %d, not %d", prefetchMax, f.prefetch)
	case f.autoAck && flags.Changed("prefetch"):
		return errors.New("--prefetch has no meaning with --auto-ack: it counts messages that await their ack")
	}
	return nil
}

// outputFlags say what to print.
type outputFlags struct {
	json  string
	quiet bool
}

func (f *outputFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.json, "json", "", `write the result as JSON to this file; "-" is standard output, and nothing else goes there then`)
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print no settings and no progress, only the result")
}

// countFlag is a number of messages; 0 only as a default.
type countFlag uint64

func (f *countFlag) String() string { return strconv.FormatUint(uint64(*f), 10) }
func (f *countFlag) Type() string   { return "number" }

func (f *countFlag) Set(text string) error {
	n, err := parseScaled(text, map[string]uint64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9})
	if err != nil {
		return fmt.Errorf("must be a number of messages like 1000000, 10k or 1m")
	}
	if n < 1 || n > load.MaxCount {
		return fmt.Errorf("must be from 1 to %d", uint64(load.MaxCount))
	}
	*f = countFlag(n)
	return nil
}

// bodyFlag is the size of bodies in bytes; 0 stands for the tutorial's bodies.
type bodyFlag int

func (f *bodyFlag) Type() string { return "tutorial|SIZE" }

func (f *bodyFlag) String() string {
	if *f == 0 {
		return "tutorial"
	}
	return strconv.Itoa(int(*f))
}

func (f *bodyFlag) Set(text string) error {
	if text == "tutorial" {
		*f = 0
		return nil
	}
	n, err := parseScaled(text, map[string]uint64{
		"": 1, "b": 1, "k": 1e3, "kb": 1e3, "kib": 1 << 10, "m": 1e6, "mb": 1e6, "mib": 1 << 20,
	})
	if err != nil {
		return errors.New(`must be "tutorial" or a size like 100, 1KiB or 10kb`)
	}
	if n < load.MinBodyBytes || n > bodySizeMax {
		return fmt.Errorf("size must be from %d to %d bytes", load.MinBodyBytes, bodySizeMax)
	}
	*f = bodyFlag(n)
	return nil
}

// parseScaled parses a whole number with one of the suffixes, in any case.
// Underscores between digits are for the eye.
func parseScaled(text string, suffixes map[string]uint64) (uint64, error) {
	end := strings.LastIndexAny(text, "0123456789") + 1
	scale, ok := suffixes[strings.ToLower(strings.TrimSpace(text[end:]))]
	if !ok {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(strings.ReplaceAll(text[:end], "_", ""), 10, 64)
	if err != nil {
		return 0, err
	}
	if n > math.MaxUint64/scale {
		return 0, strconv.ErrRange
	}
	return n * scale, nil
}

// idleFlag is a time without messages; 0 only as a default.
type idleFlag time.Duration

func (f *idleFlag) Type() string { return "duration" }

func (f *idleFlag) String() string {
	if *f == 0 {
		return ""
	}
	return time.Duration(*f).String()
}

func (f *idleFlag) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("must be a time like 5s or 1m30s")
	}
	if d <= 0 {
		return errors.New("must be more than nothing")
	}
	*f = idleFlag(d)
	return nil
}
