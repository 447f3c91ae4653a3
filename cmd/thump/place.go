package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/load"
)

// Kinds of places: what --kind takes, and what the record says.
const (
	kindClassic     = string(thump.Classic)
	kindQuorum      = string(thump.Quorum)
	kindStream      = "stream"
	kindSuperStream = "super-stream"
	kindAll         = "all" // the first three, one after another
)

const (
	partitionsMax = 1000 // what RabbitMQ allows
	nameMax       = 255  // bytes of a name, in both protocols
)

// placeFlags say what to send to or receive from, and how it is made where it
// is not there.
type placeFlags struct {
	kind      kindFlag
	transient bool

	stream      string
	superStream string
	partitions  int
	maxBytes    sizeFlag
}

// registerQueue adds the flags of how a queue is made. kinds are those that
// --kind takes.
func (f *placeFlags) registerQueue(flags *pflag.FlagSet, kinds ...string) {
	f.kind = kindFlag{kind: kindClassic, of: kinds}
	text := "make the queue of this kind"
	if len(kinds) > 2 {
		text = `what to send through; "all" is the first three, one after another`
	}
	flags.Var(&f.kind, "kind", text)
	flags.BoolVar(&f.transient, "transient", false, "make the queue transient, and send messages that a broker restart may lose")
}

// registerStream adds the flags that name a stream.
func (f *placeFlags) registerStream(flags *pflag.FlagSet) {
	flags.StringVar(&f.stream, "stream", "", "the stream of this name, over RabbitMQ's stream protocol, in place of a queue")
}

// registerSuperStream adds the flags of how streams are made.
func (f *placeFlags) registerSuperStream(flags *pflag.FlagSet) {
	flags.StringVar(&f.superStream, "super-stream", "", "the super stream of this name (RabbitMQ 3.13)")
	flags.IntVar(&f.partitions, "partitions", 0, "make the super stream, where it is not there, of so many partitions")
	flags.Var(&f.maxBytes, "stream-max-bytes", "make a stream, where it is not there, that keeps about so much: 500MB, 10GB (default: everything)")
}

// place is what the flags name, where a queue or, of that kind, a stream, has
// the given name.
func (f *placeFlags) place(name string) load.Place {
	switch {
	case f.superStream != "":
		return load.Place{Kind: load.SuperStream, Name: f.superStream}
	case f.stream != "":
		return load.Place{Kind: load.Stream, Name: f.stream}
	case f.kind.kind == kindStream:
		return load.Place{Kind: load.Stream, Name: name}
	default:
		return load.Place{Kind: load.Queue, Name: name}
	}
}

func (f *placeFlags) check(place load.Place, flags *pflag.FlagSet) error {
	empty := func(name string) bool { return flags.Changed(name) && flags.Lookup(name).Value.String() == "" }
	switch {
	case empty("stream") || empty("super-stream"):
		return errors.New("the stream needs a name")
	case f.stream != "" && f.superStream != "":
		return errors.New("--stream can't go with --super-stream: it is one or the other")
	case f.stream+f.superStream != "" && flags.Changed("kind") && f.kind.kind != kindStream:
		return fmt.Errorf("--kind %s can't go with a stream's name", f.kind.kind)
	case f.transient && f.kind.kind == kindQuorum:
		return errors.New("--transient can't go with --kind quorum: quorum queues are always durable")
	case flags.Changed("partitions") && f.superStream == "":
		return errors.New("--partitions is for a --super-stream")
	case flags.Changed("partitions") && (f.partitions < 1 || f.partitions > partitionsMax):
		return fmt.Errorf("--partitions must be from 1 to %d, not %d", partitionsMax, f.partitions)
	case place.Name == "":
		return errors.New("the queue needs a name")
	case len(place.Name) > nameMax:
		return fmt.Errorf("the name is %d bytes long, RabbitMQ allows %d", len(place.Name), nameMax)
	default:
		return nil
	}
}

// prepared is a queue or stream that is there, and what is known of it.
type prepared struct {
	place   load.Place
	created bool // by this command

	// kind is empty and durable nil when a queue was there and it is not known
	// what it is.
	kind    string
	durable *bool
	found   thump.QueueInfo // of a queue

	partitions int // of a super stream
}

// prepare makes the place where it is not there, or, of a stream that is only
// to be read, says that it is not. One that is there is used as it is; but where
// the user has said what it should be, in changed flags, it has to be that.
func (f *placeFlags) prepare(ctx context.Context, client *thump.Client, place load.Place, flags *pflag.FlagSet, makeStream bool) (prepared, error) {
	switch place.Kind {
	case load.Stream:
		return prepareStream(ctx, client, place, f, flags, makeStream)
	case load.SuperStream:
		return prepareSuperStream(ctx, client, place, f, flags)
	default:
		return prepareQueue(ctx, client, place, f, flags)
	}
}

// remove deletes what this command has made.
func (p *prepared) remove(ctx context.Context, client *thump.Client) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	var err error
	switch p.place.Kind {
	case load.Stream:
		err = client.DeleteStream(ctx, p.place.Name)
	case load.SuperStream:
		err = client.DeleteSuperStream(ctx, p.place.Name)
	default:
		_, err = client.DeleteQueue(ctx, p.place.Name, thump.DeleteOptions{})
	}
	if err != nil {
		return fmt.Errorf("the %s, which this run created, is still there: %w", p.words(), err)
	}
	return nil
}

// words name the place for people.
func (p *prepared) words() string {
	switch p.place.Kind {
	case load.Stream:
		return "stream " + p.place.Name
	case load.SuperStream:
		return "super stream " + p.place.Name
	default:
		return "queue " + p.place.Name
	}
}

// kindFlag is a kind of place.
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
	n, err := parseScaled(text, map[string]uint64{
		"": 1, "b": 1, "k": 1e3, "kb": 1e3, "kib": 1 << 10, "m": 1e6, "mb": 1e6, "mib": 1 << 20,
		"g": 1e9, "gb": 1e9, "gib": 1 << 30, "t": 1e12, "tb": 1e12, "tib": 1 << 40,
	})
	if err != nil {
		return errors.New("must be a size like 500MB or 10GiB")
	}
	if n < streamBytesMin || n > math.MaxInt64 {
		return fmt.Errorf("must be from %dMB", streamBytesMin/1_000_000)
	}
	*f = sizeFlag(n)
	return nil
}
