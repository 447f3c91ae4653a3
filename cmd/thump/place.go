package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// What --kind takes.
const (
	kindClassic = string(result.Classic)
	kindQuorum  = string(result.Quorum)
	kindStream  = string(result.Stream)
	kindAll     = "all" // the first three, one after another
)

// place is what a command sends to or receives from: a queue, a stream or a super
// stream. The commands leave to it whatever they do differently for one of them.
type place interface {
	load.Place

	// window is the default of --window.
	window() int
	// misused says which of the given flags mean nothing here.
	misused(given func(flag string) bool) error
	// blocksSilently reports whether the broker does not say that it blocks
	// publishers.
	blocksSilently() bool

	// describe notes in s what the place is, as far as the flags say it.
	describe(s *result.Settings)
	// checkDisk refuses to send what the broker's disk has no room for. It notes in s
	// how much is needed and how much is free.
	checkDisk(conn *connection, send *load.SendConfig, s *result.Settings) error
	// declare makes the place if it does not exist. One that exists is used as it is,
	// but has to be what the given flags say. It notes in s what the place is.
	declare(ctx context.Context, client *thump.Client, s *result.Settings) error
	// find is declare for a command that only receives: a stream must exist, and reach
	// as far as --offset. Another one is a mistake in a name or a number.
	find(ctx context.Context, client *thump.Client, s *result.Settings) error
	// checkUnused refuses a place whose other users a run would disturb.
	checkUnused() error
	// watched is what is watched of the place while a command works on it.
	watched() watched
	// remove deletes the place if declare has made it.
	remove(ctx context.Context, client *thump.Client) error
}

// choosePlace sets name and place to what the flags name. The given name is that of
// the queue, or, with --kind stream, of the stream.
func (cfg *config) choosePlace(name string) {
	cfg.name = cmp.Or(cfg.superStream, cfg.streamName, name)
	if cfg.stream.Compression != thump.NoCompression && !cfg.given("sub-entry") {
		cfg.stream.SubEntry = subEntryOfRun // it is batches that are compressed
	}
	stream := cfg.stream
	stream.Name, stream.Start, stream.Until = cfg.name, cfg.offset.start, cfg.until.time
	stream.Filtered = cfg.input.filterValue != ""
	switch {
	case cfg.superStream != "":
		cfg.place = &superStream{SuperStream: load.SuperStream{Stream: stream, Keys: cfg.keys()}, streamPlace: streamPlace{cfg}}
	case cfg.streamName != "" || cfg.kind.kind == kindStream:
		cfg.place = &plainStream{Stream: stream, streamPlace: streamPlace{cfg}}
	case cfg.toExchange():
		cfg.name = cfg.input.exchange
		cfg.place = &exchange{load.NewExchange(cfg.name, cfg.input.routingKey, cfg.keys(), cfg.queue)}
	case cfg.routing.given():
		cfg.place = newQueueSet(cfg)
	default:
		queue := &queue{Queue: cfg.queue, cfg: cfg}
		queue.Name = cfg.name
		cfg.place = queue
	}
}

// keys are the routing keys that send was told for messages that are made up.
func (cfg *config) keys() load.Keys {
	if key := cfg.input.routingKey; key != "" {
		return load.Keys{Keys: []string{key}}
	}
	return load.Keys(cfg.routing.keys)
}

// checkPlace says what is wrong with the flags that name the place and the broker.
func (cfg *config) checkPlace() error {
	empty := func(flag string) bool { return cfg.given(flag) && cfg.flags.Lookup(flag).Value.String() == "" }
	var wrong error
	switch {
	case empty("stream") || empty("super-stream"):
		wrong = errors.New("the stream needs a name")
	case cfg.streamName != "" && cfg.superStream != "":
		wrong = errors.New("--stream can't go with --super-stream: it is one or the other")
	case cfg.streamName+cfg.superStream != "" && cfg.given("kind") && cfg.kind.kind != kindStream:
		wrong = fmt.Errorf("--kind %s can't go with a stream's name", cfg.kind.kind)
	case cfg.queue.Transient && cfg.kind.kind == kindQuorum:
		wrong = errors.New("--transient can't go with --kind quorum: quorum queues are always durable")
	case cfg.given("partitions") && cfg.superStream == "":
		wrong = errors.New("--partitions is for a --super-stream")
	case cfg.given("partitions") && (cfg.partitions < 1 || cfg.partitions > partitionsMax):
		wrong = fmt.Errorf("--partitions must be from 1 to %d, not %d", partitionsMax, cfg.partitions)
	case cfg.name == "" && !cfg.toExchange():
		wrong = errors.New("the queue needs a name")
	case len(cfg.name) > nameMax:
		wrong = fmt.Errorf("the name is %d bytes long, RabbitMQ allows %d", len(cfg.name), nameMax)
	}
	misused := faults(cfg.place.misused(cfg.given), cfg.checkFilterValue())
	if cfg.kind.kind == kindAll {
		misused = misusedWithAll(cfg.given)
	}
	return faults(cfg.connect.check(cfg.given), cfg.recovery.check(cfg.given), wrong, misused)
}

// checkFilterValue says what is wrong with --filter-value.
func (cfg *config) checkFilterValue() error {
	switch {
	case !cfg.given("filter-value"):
		return nil
	case cfg.streamName+cfg.superStream == "":
		return errors.New("--filter-value is for a --stream or --super-stream")
	case cfg.input.filterValue != "" && (cfg.given("sub-entry") || cfg.given("compression")):
		return errors.New("--filter-value can't go with --sub-entry or --compression: a batch has no filter value")
	case len(cfg.stream.FilterValues) > 0 && cfg.receipt.filter.filter == nil:
		return errors.New("--filter-value needs --filter: the broker leaves out chunks without such a message, and what else is in the others comes too, without its value")
	case len(cfg.stream.FilterValues) > 0 && cfg.given("until"):
		return errors.New("--filter-value can't go with --until: nothing tells when that is reached, of what the broker leaves out; --idle ends, too")
	default:
		return nil
	}
}

// stillThere is the error of a remove that failed.
func stillThere(p place, err error) error {
	return fmt.Errorf("the %s, which this run created, is still there: %w", p, err)
}
