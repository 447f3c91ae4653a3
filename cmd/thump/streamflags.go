package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
)

const (
	subEntryDefault = 500
	subEntryMax     = math.MaxUint16 // a batch has 16 bits for its count
)

// streamSendFlags say how to send to a stream.
type streamSendFlags struct {
	subEntry    int
	compression compressionFlag
	name        string
}

func (f *streamSendFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.subEntry, "sub-entry", subEntryDefault, "stream: messages that share an entry (a sub-entry batch); 1 for an entry per message")
	flags.Var(&f.compression, "compression", "stream: compress the sub-entry batches; AMQP readers cannot read what is compressed")
	flags.StringVar(&f.name, "publisher-name", "", "stream: the publisher's name, by which the stream knows what it has; several get a number each")
}

func (f *streamSendFlags) check() error {
	switch {
	case f.subEntry < 1 || f.subEntry > subEntryMax:
		return fmt.Errorf("--sub-entry must be from 1 to %d, not %d", subEntryMax, f.subEntry)
	case f.subEntry == 1 && thump.Compression(f.compression) != thump.NoCompression:
		return errors.New("--compression needs sub-entries, and --sub-entry is 1: what is compressed is a batch")
	default:
		return checkReference("--publisher-name", f.name)
	}
}

// config is what the flags ask for, as package thump has it.
func (f *streamSendFlags) config() thump.StreamPublishing {
	return thump.StreamPublishing{Name: f.name, SubEntry: f.subEntry, Compression: thump.Compression(f.compression)}
}

// checkReference refuses names of publishers and consumers that are too long,
// with room for a number at the end.
func checkReference(flag, name string) error {
	const most = nameMax - len("-1000")
	if len(name) > most {
		return fmt.Errorf("%s is %d bytes long, at most %d are allowed", flag, len(name), most)
	}
	return nil
}

// streamReceiveFlags say what of a stream to receive.
type streamReceiveFlags struct {
	offset offsetFlag
	until  untilFlag
	name   string
}

func (f *streamReceiveFlags) register(flags *pflag.FlagSet) {
	flags.Var(&f.offset, "offset", "stream: begin with the first message, the last chunk, the next message, an offset, a time, or -1000 for the last thousand")
	flags.Var(&f.until, "until", `stream: end with what was stored at this time, or "now"`)
	registerConsumerName(flags, &f.name)
}

func registerConsumerName(flags *pflag.FlagSet, name *string) {
	flags.StringVar(name, "consumer-name", "", "stream: the consumer's name; it stores its offset under it, and begins behind what is stored; several get a number each")
}

// config is what the flags ask for, as package thump has it.
func (f *streamReceiveFlags) config() thump.StreamConsuming {
	return thump.StreamConsuming{Start: f.offset.start, Until: f.until.time, Name: f.name}
}

// wrongKind lists the flags that were given and mean nothing for a queue, or for
// a stream.
func wrongKind(flags *pflag.FlagSet, streams bool) error {
	var faults []string
	for _, f := range []struct {
		name      string
		forStream bool
		why       string // it is not for the other
	}{
		{"transient", false, "a stream is always durable"},
		{"no-confirms", false, "a stream always confirms"},
		{"prefetch", false, "its consumers read ahead by chunks, and ack nothing"},
		{"auto-ack", false, "a stream keeps its messages, whoever has read them"},
		{"stream-max-bytes", true, ""},
		{"stream-url", true, ""},
		{"sub-entry", true, ""},
		{"compression", true, ""},
		{"publisher-name", true, ""},
		{"consumer-name", true, ""},
		{"offset", true, ""},
		{"until", true, ""},
	} {
		switch {
		case !flags.Changed(f.name) || f.forStream == streams:
		case streams:
			faults = append(faults, fmt.Sprintf("--%s has no meaning for a stream: %s", f.name, f.why))
		default:
			faults = append(faults, fmt.Sprintf("--%s is for streams, and this is a queue", f.name))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}

// compressionFlag is a compression of sub-entry batches.
type compressionFlag thump.Compression

func (f *compressionFlag) Type() string   { return "none|gzip|snappy|lz4|zstd" }
func (f *compressionFlag) String() string { return thump.Compression(*f).String() }

func (f *compressionFlag) Set(text string) error {
	c, err := thump.ParseCompression(text)
	if err != nil {
		return errors.New("must be none, gzip, snappy, lz4 or zstd")
	}
	*f = compressionFlag(c)
	return nil
}

// offsetFlag is where in a stream to begin.
type offsetFlag struct {
	text   string
	start  thump.Start
	offset uint64 // where the start is an offset; else 0
}

func (f *offsetFlag) Type() string { return "first|last|next|OFFSET|TIME|-N" }

func (f *offsetFlag) String() string {
	if f.text == "" {
		return f.start.String()
	}
	return f.text
}

func (f *offsetFlag) Set(text string) error {
	start, offset, ok := parseStart(text)
	if !ok {
		return errors.New("must be first, last, next, an offset like 1200, a time like 2026-11-23T10:00:00Z, or the last so many messages like -1000")
	}
	*f = offsetFlag{text: text, start: start, offset: offset}
	return nil
}

// parseStart parses the text of a start, and returns the offset where it is one.
func parseStart(text string) (start thump.Start, offset uint64, ok bool) {
	switch text {
	case "first":
		return thump.FromFirst(), 0, true
	case "last":
		return thump.FromLastChunk(), 0, true
	case "next":
		return thump.FromNext(), 0, true
	}
	digits, fromEnd := strings.CutPrefix(text, "-")
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case err == nil && fromEnd:
		return thump.FromLast(n), 0, n > 0
	case err == nil:
		return thump.FromOffset(n), n, true
	}
	at, err := time.Parse(time.RFC3339, text)
	return thump.FromTime(at), 0, err == nil
}

// untilFlag is a time at which to end.
type untilFlag struct {
	text string
	time time.Time
}

func (f *untilFlag) Type() string   { return "TIME|now" }
func (f *untilFlag) String() string { return f.text }

func (f *untilFlag) Set(text string) error {
	at := time.Now()
	if text != "now" {
		var err error
		if at, err = time.Parse(time.RFC3339, text); err != nil {
			return errors.New(`must be a time like 2026-11-23T10:00:00Z, or "now"`)
		}
	}
	f.text, f.time = text, at
	return nil
}
