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
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/internal/dump"
)

// The values of flags: what pflag needs to parse and to show them.

// countFlag is a number of messages; 0 only as a default.
type countFlag uint64

func (f *countFlag) String() string { return strconv.FormatUint(uint64(*f), 10) }
func (f *countFlag) Type() string   { return "number" }

func (f *countFlag) Set(text string) error {
	n, err := parseScaled(text, map[string]uint64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9})
	if err != nil {
		return errors.New("must be a number of messages like 1000000, 10k or 1m")
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

// sizeFlag is a number of bytes; 0 only as a default.
type sizeFlag uint64

func (f *sizeFlag) Type() string { return "size" }

func (f *sizeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(*f), 10)
}

func (f *sizeFlag) Set(text string) error {
	n, err := parseBytes(text)
	if err == nil && n < streamBytesMin {
		err = fmt.Errorf("must be from %dMB", streamBytesMin/1_000_000)
	}
	if err == nil {
		*f = sizeFlag(n)
	}
	return err
}

// maxBodyFlag is the size of the largest body to publish; 0 for what the broker takes by default.
type maxBodyFlag uint64

func (f *maxBodyFlag) Type() string   { return "size" }
func (f *maxBodyFlag) String() string { return (*sizeFlag)(f).String() }

func (f *maxBodyFlag) Set(text string) error {
	n, err := parseBytes(text)
	if err == nil && (n < 1 || n > maxBodyMost) {
		err = fmt.Errorf("must be from 1 byte to %dMiB, the most that RabbitMQ takes", maxBodyMost>>20)
	}
	if err == nil {
		*f = maxBodyFlag(n)
	}
	return err
}

// register adds the flag.
func (f *maxBodyFlag) register(flags *pflag.FlagSet) {
	flags.Var(f, "max-body", "publish bodies of up to this size to a queue, where the broker's max_message_size is not the default (16MiB since RabbitMQ 4.0, 128MiB before)")
}

// maxBodyMost is the most that RabbitMQ's max_message_size can be (rabbit.schema).
const maxBodyMost = 512 << 20

// splitFlag is the size of a file; 0 only as a default.
type splitFlag uint64

func (f *splitFlag) Type() string   { return "size" }
func (f *splitFlag) String() string { return (*sizeFlag)(f).String() }

func (f *splitFlag) Set(text string) error {
	n, err := parseBytes(text)
	if err == nil && n == 0 {
		err = errors.New("must be more than 0")
	}
	if err == nil {
		*f = splitFlag(n)
	}
	return err
}

// parseBytes parses a number of bytes.
func parseBytes(text string) (uint64, error) {
	n, err := parseScaled(text, map[string]uint64{
		"": 1, "b": 1, "k": 1e3, "kb": 1e3, "kib": 1 << 10, "m": 1e6, "mb": 1e6, "mib": 1 << 20,
		"g": 1e9, "gb": 1e9, "gib": 1 << 30, "t": 1e12, "tb": 1e12, "tib": 1 << 40,
	})
	if err != nil || n > math.MaxInt64 {
		return 0, errors.New("must be a size like 500MB or 10GiB")
	}
	return n, nil
}

// parseScaled parses a whole number with one of the suffixes, in upper or lower
// case. Digits may be grouped by underscores.
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

// durationFlag is how long something takes; 0 only as a default.
type durationFlag time.Duration

func (f *durationFlag) Type() string { return "duration" }

func (f *durationFlag) String() string {
	if *f == 0 {
		return ""
	}
	return time.Duration(*f).String()
}

func (f *durationFlag) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("must be a time like 5s or 1m30s")
	}
	if d <= 0 {
		return errors.New("must be more than 0")
	}
	*f = durationFlag(d)
	return nil
}

// kindFlag is a kind of queue or stream, or all.
type kindFlag struct {
	kind string
	of   []string // those that may be given
}

func (f *kindFlag) String() string { return f.kind }
func (f *kindFlag) Type() string   { return strings.Join(f.of, "|") }

func (f *kindFlag) Set(text string) error {
	for _, kind := range f.of {
		if text == kind {
			f.kind = kind
			return nil
		}
	}
	last := len(f.of) - 1
	must := fmt.Sprintf("must be %s or %s", strings.Join(f.of[:last], ", "), f.of[last])
	if text == kindStream {
		must += "; a stream is named by --stream"
	}
	return errors.New(must)
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
	offset uint64 // if the start is an offset; else 0
}

// begin is it for package dump.
func (f *offsetFlag) begin() dump.Begin {
	begin := dump.Begin{Start: f.start, Offset: f.offset}
	begin.Time, _ = time.Parse(time.RFC3339, f.text) // else it is no time
	return begin
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
		return errors.New("must be first, last, next, an offset like 1200, a time like 2026-11-23T10:00:00Z, or -1000 for the last thousand messages")
	}
	*f = offsetFlag{text: text, start: start, offset: offset}
	return nil
}

// parseStart parses the text of a start. offset is not 0 if the start is an offset.
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
