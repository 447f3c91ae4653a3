package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
)

const (
	countDefault    = 1_000_000 // the tutorial's
	queueDefault    = "hello"   // the tutorial's
	prefetchDefault = 2_000

	// subEntryOfRun is the default of --sub-entry for run, whose readers are its own, and
	// for batches that are to be compressed. send makes an entry for each message, which
	// every client reads.
	subEntryOfRun  = 500
	subEntryOfSend = 1

	pollIntervalDefault = 100 * time.Millisecond
	// pollIntervalMax is less than what run takes for a queue that gives nothing out.
	pollIntervalMax = 30 * time.Second

	windowMax     = 1 << 20        // what a Publisher accepts
	prefetchMax   = math.MaxUint16 // basic.qos has 16 bits for it
	subEntryMax   = math.MaxUint16 // a sub-entry batch has 16 bits for its count
	bodySizeMax   = 512 << 20      // more than any RabbitMQ takes
	clientsMax    = 1000
	partitionsMax = 1000 // what RabbitMQ allows
	nameMax       = 255  // bytes of a name, in both protocols
)

// config is what the command line asks send, receive or run for. Each command
// registers the flags that it has; most of them set what package load is to do.
type config struct {
	command string         // "thump send"
	flags   *pflag.FlagSet // says which flags were given

	send    load.SendConfig    // --count, --body, --publishers, --window
	receive load.ReceiveConfig // --count, --idle, --consumers
	queue   load.Queue         // --no-confirms, --transient, --prefetch, --auto-ack, --poll
	stream  load.Stream        // --sub-entry, --compression, and both names
	offset  offsetFlag
	until   untilFlag

	// What to send to or receive from, and how to make it if it does not exist.
	// choosePlace sets place and its name from the flags.
	place       place
	name        string
	queueName   string // --queue, or the argument
	streamName  string // --stream
	superStream string
	kind        kindFlag
	partitions  int
	maxBytes    sizeFlag

	rate    rateFlags    // --rate, --arrivals, --duration
	routing routingFlags // --queues; --routing-keys of send; --exchange and what goes with it, of run

	input   inputFlags   // of send
	receipt receiptFlags // of receive

	work load.Work // --work, --consume-rate, --requeue, --reject, of run and receive

	alone      bool   // run: a queue is its own, so that one that exists must be empty, and as its messages need it
	scenario   string // --scenario, of run
	sequential bool
	several    severalFlags // of run
	findMax    failIfFlag   // --find-max, of run
	again      bool         // what this run has made goes before the next one
	private    bool
	keep       bool

	connect  connectFlags
	recovery recoveryFlags
	output   outputFlags
	result   resultFlags
}

// given reports whether a flag was given.
func (cfg *config) given(flag string) bool { return cfg.flags.Changed(flag) }

// sendFlags adds the flags that say what to send.
func (cfg *config) sendFlags(flags *pflag.FlagSet) {
	cfg.send.Count = countDefault
	flags.Var((*countFlag)(&cfg.send.Count), "count", "messages to send in total (1000000, 10k, 1m)")
	cfg.rate.register(flags)
	flags.Var(bodiesFlag{&cfg.send}, "body", `bodies: "tutorial" for "Message N", or a size of at least 16 bytes (100, 1KiB, 10kb), or several: 100b:80%,10kb:20%, or 100b..10kb at random`)
	flags.BoolVar(&cfg.send.Incompressible, "incompressible", false, "let bodies of a --body size differ throughout, so that nothing makes them smaller, and not many together either")
	flags.IntVar(&cfg.send.Publishers, "publishers", 1, "publishers, each on its own connection")
	flags.IntVar(&cfg.send.Window, "window", windowOfQueue, fmt.Sprintf("messages in flight (not confirmed yet) for each publisher; for a stream %d", windowOfStream))
	flags.BoolVar(&cfg.queue.NoConfirms, "no-confirms", false, "don't ask the broker to confirm messages")
}

// receiveFlags adds the flags that say how to receive.
func (cfg *config) receiveFlags(flags *pflag.FlagSet) {
	flags.IntVar(&cfg.receive.Consumers, "consumers", 1, "consumers, each on its own connection")
	flags.IntVar(&cfg.queue.Prefetch, "prefetch", prefetchDefault, fmt.Sprintf("messages that each consumer may hold unacked; of a receive to a file %d", prefetchOfFile))
	flags.BoolVar(&cfg.queue.AutoAck, "auto-ack", false, "let the broker drop a message as soon as it is sent")
	flags.BoolVar(&cfg.queue.Poll, "poll", false, "let consumers ask for one message after another (basic.get), instead of having the broker send them")
	cfg.queue.PollInterval = pollIntervalDefault
	flags.Var((*durationFlag)(&cfg.queue.PollInterval), "poll-interval", "with --poll, how long a consumer waits where the queue was empty before it asks again")
}

// latencyOfSend adds the flag that makes send say when it sent a message.
func (cfg *config) latencyOfSend(flags *pflag.FlagSet) {
	flags.BoolVar(&cfg.send.Latency, "latency", false, "let each made-up message say when it was sent, or due, in two headers: for thump receive --latency")
}

// latencyOfReceive adds the flag that makes receive read it.
func (cfg *config) latencyOfReceive(flags *pflag.FlagSet) {
	flags.BoolVar(&cfg.receive.Latency, "latency", false, "tell how long messages took that thump send --latency has sent, from here or from another machine")
}

// kindFlags adds the flags that say how to make a queue. kinds are those that --kind
// takes.
func (cfg *config) kindFlags(flags *pflag.FlagSet, text string, kinds ...string) {
	cfg.kind = kindFlag{kind: kindClassic, of: kinds}
	flags.Var(&cfg.kind, "kind", text)
	flags.BoolVar(&cfg.queue.Transient, "transient", false, "create a transient queue, and send messages that a restart of the broker may lose")
}

// streamFlag adds the flag that names a stream.
func (cfg *config) streamFlag(flags *pflag.FlagSet) {
	flags.StringVar(&cfg.streamName, "stream", "", "use this stream instead of a queue, over RabbitMQ's stream protocol")
}

// superStreamFlags adds the flags that name a super stream, and that say how to make
// a stream.
func (cfg *config) superStreamFlags(flags *pflag.FlagSet) {
	flags.StringVar(&cfg.superStream, "super-stream", "", "use this super stream instead of a queue (RabbitMQ 3.13)")
	flags.IntVar(&cfg.partitions, "partitions", 0, "create the super stream, if it does not exist, with this many partitions")
	flags.Var(&cfg.maxBytes, "stream-max-bytes", "create a stream that keeps about this much: 500MB, 10GB (default: everything)")
}

// publishFlags adds the flags that say how to publish to a stream. subEntry is the
// default of --sub-entry.
func (cfg *config) publishFlags(flags *pflag.FlagSet, subEntry int) {
	flags.IntVar(&cfg.stream.SubEntry, "sub-entry", subEntry, "stream: the most messages that share an entry (a sub-entry batch); 1 for an entry per message")
	flags.Var((*compressionFlag)(&cfg.stream.Compression), "compression", fmt.Sprintf("stream: compress sub-entry batches, of up to %d messages unless --sub-entry is given; AMQP readers cannot read what is compressed", subEntryOfRun))
	flags.StringVar(&cfg.stream.PublisherName, "publisher-name", "", "stream: the publisher's name, under which the stream remembers its publishing ids; several get a number each")
}

// consumerNameFlag adds the flag that names a stream's consumer.
func (cfg *config) consumerNameFlag(flags *pflag.FlagSet) {
	flags.StringVar(&cfg.stream.ConsumerName, "consumer-name", "", "stream: the consumer's name; it stores its offset under it, and continues after the stored one; several get a number each")
}

// endFlags adds the flags that say when receive ends.
func (cfg *config) endFlags(flags *pflag.FlagSet) {
	flags.Var((*countFlag)(&cfg.receive.Count), "count", "end after this many messages (default: no limit)")
	flags.Lookup("count").DefValue = ""
	flags.Var((*durationFlag)(&cfg.receive.Idle), "idle", "end when no message has come for this long, like 5s (default: never)")
}

// rangeFlags adds the flags that say which part of a stream to receive.
func (cfg *config) rangeFlags(flags *pflag.FlagSet) {
	flags.Var(&cfg.offset, "offset", "stream: begin with the first message, the last chunk, the next message, an offset, a time, or -1000 for the last thousand")
	flags.Var(&cfg.until, "until", `stream: end with what was stored up to this time, or "now"`)
	flags.StringArrayVar(&cfg.stream.FilterValues, "filter-value", nil, "stream: let the broker leave out chunks that have no message with this filter value (RabbitMQ 3.13); --filter says which messages of the others; may be repeated")
}

// checkSending says what is wrong with the flags that say what to send, and how.
func (cfg *config) checkSending() error {
	var wrong, wrongStream error
	switch send := &cfg.send; {
	case send.Incompressible && (send.BodyBytes == 0 && send.Sizes.Shares == nil || send.LargestBody() < load.MinBodyBytes+8):
		wrong = fmt.Errorf("--incompressible needs a --body of %d bytes or more: in smaller ones there is no room for what differs", load.MinBodyBytes+8)
	case send.Publishers < 1 || send.Publishers > clientsMax:
		wrong = fmt.Errorf("--publishers must be from 1 to %d, not %d", clientsMax, send.Publishers)
	case send.Window < 1 || send.Window > windowMax:
		wrong = fmt.Errorf("--window must be from 1 to %d, not %d", windowMax, send.Window)
	case cfg.queue.NoConfirms && cfg.given("window"):
		wrong = errors.New("--window has no meaning with --no-confirms: it limits messages that are not confirmed yet")
	case cfg.given("max-body") && cfg.streamName+cfg.superStream != "":
		wrong = errors.New("--max-body is for queues and exchanges: a stream takes what fits its connection's frame")
	}
	switch stream := &cfg.stream; {
	case stream.SubEntry < 1 || stream.SubEntry > subEntryMax:
		wrongStream = fmt.Errorf("--sub-entry must be from 1 to %d, not %d", subEntryMax, stream.SubEntry)
	case stream.SubEntry == 1 && stream.Compression != thump.NoCompression:
		wrongStream = errors.New("--compression needs sub-entries, and --sub-entry is 1: it compresses batches")
	}
	_, wrongProperties := cfg.input.made()
	return faults(wrong, wrongStream, wrongProperties, cfg.rate.check(cfg.given), checkReference("--publisher-name", cfg.stream.PublisherName))
}

// checkReceiving says what is wrong with the flags that say how to receive.
func (cfg *config) checkReceiving() error {
	var wrong error
	switch consumers, q := cfg.receive.Consumers, &cfg.queue; {
	case consumers < 1 || consumers > clientsMax:
		wrong = fmt.Errorf("--consumers must be from 1 to %d, not %d", clientsMax, consumers)
	case q.Prefetch < 1 || q.Prefetch > prefetchMax:
		wrong = fmt.Errorf("--prefetch must be from 1 to %d, not %d", prefetchMax, q.Prefetch)
	case q.AutoAck && cfg.given("prefetch"):
		wrong = errors.New("--prefetch has no meaning with --auto-ack: it limits messages that are not acked yet")
	case q.Poll && cfg.given("prefetch"):
		wrong = errors.New("--prefetch has no meaning with --poll: nothing is sent ahead")
	case cfg.given("poll-interval") && !q.Poll:
		wrong = errors.New("--poll-interval is for --poll")
	case q.PollInterval > pollIntervalMax:
		wrong = fmt.Errorf("--poll-interval must be %v at most: what waits longer looks like a queue that gives nothing out", pollIntervalMax)
	case q.Poll && cfg.receive.Idle > 0 && cfg.receive.Idle <= q.PollInterval:
		wrong = fmt.Errorf("--idle %v must be longer than --poll-interval %v: it would end before a consumer asks again", cfg.receive.Idle, q.PollInterval)
	}
	return faults(wrong, checkReference("--consumer-name", cfg.stream.ConsumerName))
}

// checkReference refuses names of publishers and consumers that are too long, with
// room for a number at the end.
func checkReference(flag, name string) error {
	const most = nameMax - len("-1000")
	if len(name) > most {
		return fmt.Errorf("%s is %d bytes long, at most %d are allowed", flag, len(name), most)
	}
	return nil
}

// sending is what to send.
func (cfg *config) sending() load.SendConfig {
	send := cfg.send
	send.To, send.RunID, send.Progress = cfg.place, rand.Uint32(), new(load.Progress)
	cfg.rate.apply(&send, cfg.given("count"))
	send.Properties, _ = cfg.input.made() // checkSending has looked at them
	send.MaxMessageBytes = int(cfg.input.maxBody)
	if !cfg.given("window") {
		send.Window = cfg.place.window()
	}
	return send
}

// receiving is what to receive.
func (cfg *config) receiving() load.ReceiveConfig {
	receive := cfg.receive
	receive.From, receive.Work, receive.Progress = cfg.place, cfg.work, new(load.Progress)
	return receive
}
