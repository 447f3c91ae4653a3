package result

// Run is the record of one run of one command.
type Run struct {
	Command   string   `json:"command"` // "run", "send" or "receive"
	Verdict   Verdict  `json:"verdict"`
	Reason    *string  `json:"reason"`     // why the verdict is not ok
	StartedAt string   `json:"started_at"` // as RFC 3339 has it; "" if it did not begin
	Settings  Settings `json:"settings"`
	Broker    Broker   `json:"broker"`

	// Sent = Confirmed + Rejected + Returned + Unknown. Without confirms, Sent is
	// the messages that were written to the connection.
	Sent      *uint64 `json:"sent"`
	Confirmed *uint64 `json:"confirmed"`
	Rejected  *uint64 `json:"rejected"`
	Returned  *uint64 `json:"returned"`
	Unknown   *uint64 `json:"unknown"`
	// Skipped is how many messages of files could not be read or sent, and were passed over.
	Skipped *uint64 `json:"skipped"`

	// LateSeconds is how late a message was at most, by the rate that was asked for. One that
	// was never sent counts as late until the sending ended. NotSent is how many messages were
	// due and never sent. Both are nil where no rate was asked for, and NotSent is where others
	// say what is sent, as a file.
	LateSeconds *float64 `json:"late_seconds"`
	NotSent     *uint64  `json:"not_sent"`

	// Received = Unique + Duplicated + Corrupted + Unexpected. Every consumer of a
	// stream receives every message and is judged by itself; the counts are sums
	// over the consumers then.
	Received *uint64 `json:"received"`
	Unique   *uint64 `json:"unique"`
	// Expired is how many messages expired in their queue, and are no part of Received; nil where none can.
	Expired    *uint64 `json:"expired"`
	Lost       *uint64 `json:"lost"` // nil if the run ended before it could tell
	Duplicated *uint64 `json:"duplicated"`
	// Reordered is nil where messages of several priorities overtake each other. Of a super
	// stream it is within a partition, and of several queues within each.
	Reordered  *uint64 `json:"reordered"`
	Corrupted  *uint64 `json:"corrupted"`
	Unexpected *uint64 `json:"unexpected"`

	// Resent is how many messages were sent again because a connection was lost.
	Resent *uint64 `json:"resent"`
	// DuplicatedResent and DuplicatedRedelivered are the parts of Duplicated that lost
	// connections explain: copies of messages that were sent again, and deliveries of what
	// had come before a consumer lost its connection. Nothing explains the rest.
	DuplicatedResent      *uint64 `json:"duplicated_resent"`
	DuplicatedRedelivered *uint64 `json:"duplicated_redelivered"`
	// Requeued is how many deliveries the consumers gave back, as --requeue asks: those are no
	// part of Received. Dropped is how many they rejected, after they had been received. Both
	// are nil where nobody asked.
	Requeued *uint64 `json:"requeued"`
	Dropped  *uint64 `json:"dropped"`
	// Gets is how often the consumers asked for a message, where they poll, and EmptyGets how often
	// the queue had none then; nil where they don't.
	Gets      *uint64 `json:"gets"`
	EmptyGets *uint64 `json:"empty_gets"`
	// Redelivered is, for receive, how many deliveries the broker marked as redelivered.
	Redelivered *uint64 `json:"redelivered"`

	// Outages is how often there was no connection for a while. FirstOutageAt is how many
	// messages were done (confirmed; without that sent, or received) when the first began.
	// OutageSeconds is the sum of all, LongestOutageSeconds the longest. AwayAtEnd says that
	// there was still no connection when the command ended.
	Outages              *uint64  `json:"outages"`
	FirstOutageAt        *uint64  `json:"first_outage_at"`
	OutageSeconds        *float64 `json:"outage_seconds"`
	LongestOutageSeconds *float64 `json:"longest_outage_seconds"`
	AwayAtEnd            bool     `json:"away_at_end"`

	// SendSeconds is the time from the first publish to the last confirm,
	// ReceiveSeconds from the first delivery to the last, TotalSeconds from the
	// earlier start of the two to the later end.
	SendSeconds    *float64 `json:"send_seconds"`
	ReceiveSeconds *float64 `json:"receive_seconds"`
	TotalSeconds   *float64 `json:"total_seconds"`
	// The rates count what was confirmed (without confirms: sent) and received, after the warm-up.
	SendRatePerSecond    *float64 `json:"send_rate_per_second"`
	ReceiveRatePerSecond *float64 `json:"receive_rate_per_second"`

	ClientCPUSeconds   *float64 `json:"client_cpu_seconds"`
	BrokerCPUSeconds   *float64 `json:"broker_cpu_seconds"`
	ClientRSSPeakBytes *uint64  `json:"client_rss_peak_bytes"`

	// The latencies: from a message's sending to its confirm, and to its arrival at a consumer.
	// They are nil where they were not measured.
	ConfirmLatency *Latency `json:"confirm_latency"`
	ReceiveLatency *Latency `json:"receive_latency"`

	// Untimed is, for receive, how many messages have no latency, because they did not say when
	// they were sent, or by a clock of which nothing is known. It is nil where nobody asked.
	Untimed *uint64 `json:"untimed"`

	// BytesOnWire is the size of the frames that carried the messages to a stream.
	// CompressionRatio is the size of the bodies divided by it: below 1 if the
	// frames add more than compression saves. Both are nil for a queue.
	BytesOnWire      *uint64  `json:"bytes_on_wire"`
	CompressionRatio *float64 `json:"compression_ratio"`

	// BacklogAtSendEnd is how many messages had been sent but not received when the
	// last was confirmed: what the queue held then, or what the consumers of a
	// stream had still to read, on average. Of several copies of each message it is the average too.
	BacklogAtSendEnd *uint64 `json:"backlog_at_send_end"`
	// LeftInQueue is how many messages the run left in the queue. It is nil for a
	// stream, which keeps its messages.
	LeftInQueue *uint64 `json:"left_in_queue"`
	// LostMessages are the first ranges of lost messages: "17", "20-31".
	LostMessages []string `json:"lost_messages"`

	// Samples and Events are the course of the run, in order of time.
	Samples []Sample `json:"samples"`
	Events  []Event  `json:"events"`
}

// Settings are the effective settings of a run, with defaults and what the broker
// told filled in.
type Settings struct {
	ThumpVersion string `json:"thump_version"`
	// Processors is how many thump could use; 0 if that is not known.
	Processors int    `json:"processors"`
	URL        string `json:"url"`        // without the password
	StreamURL  string `json:"stream_url"` // without the password; empty if none was given
	Queue      string `json:"queue"`      // the name of the queue, stream or super stream
	Kind       Kind   `json:"kind"`
	// Durable is nil if the queue existed already and is not known to be durable or
	// transient.
	Durable *bool `json:"durable"`
	// Rate is how many messages a second were to be sent, in the user's words; "" for as many
	// as possible. Arrivals is "even" or "poisson" then.
	Rate     string `json:"rate"`
	Arrivals string `json:"arrivals"`
	// DurationSeconds is after how long the sending was to end; 0 for no limit.
	DurationSeconds float64 `json:"duration_seconds"`
	// WarmUpSeconds is how much of the beginning is left out of rates and latencies.
	WarmUpSeconds float64 `json:"warm_up_seconds"`
	// Count is how many messages were asked for; 0 for no limit.
	Count     uint64 `json:"count"`
	Body      string `json:"body"`       // "tutorial", "100 bytes", or where they come from
	BodyBytes int    `json:"body_bytes"` // of the largest body; 0 where they are not made up
	// Incompressible says that bodies differ throughout.
	Incompressible bool `json:"incompressible"`
	Publishers     int  `json:"publishers"`
	Consumers      int  `json:"consumers"`
	Window         int  `json:"window"`   // for each publisher, in messages
	Prefetch       int  `json:"prefetch"` // for each consumer, in messages
	Confirms       bool `json:"confirms"`
	AutoAck        bool `json:"auto_ack"`
	Sequential     bool `json:"sequential"`
	// Work is the time that each message takes a consumer, in the user's words; "" for none.
	// RequeueShare and RejectShare are the shares of deliveries that consumers give back, and
	// reject.
	Work         string  `json:"work"`
	RequeueShare float64 `json:"requeue_share"`
	RejectShare  float64 `json:"reject_share"`
	// Poll says that consumers ask for each message, and PollIntervalSeconds how long one waits where
	// the queue was empty.
	Poll                bool    `json:"poll"`
	PollIntervalSeconds float64 `json:"poll_interval_seconds"`
	// ConsumeRate is how many messages a second the consumers take together at most; 0 for any number.
	ConsumeRate float64 `json:"consume_rate"`
	Output      string  `json:"output"` // of receive: where the messages go
	// Queues is how many queues the run goes through, which Queue stands for; 0 and 1 for one.
	// Through an exchange, Copies is how many of them get each message; else it is 0. RoutingKeys
	// is in the user's words.
	Queues       int    `json:"queues"`
	Exchange     string `json:"exchange"`
	ExchangeType string `json:"exchange_type"`
	// ExchangeExisted says that the exchange was there before the run, and what is bound to it may be, too.
	ExchangeExisted bool   `json:"exchange_existed"`
	RoutingKeys     string `json:"routing_keys"`
	Copies          int    `json:"copies"`
	// TTLSeconds is how long a message may wait in its queue; 0 for ever.
	TTLSeconds float64 `json:"ttl_seconds"`
	// Priorities are those of the messages, in the user's words; "" where they have none of their own.
	Priorities string `json:"priorities"`
	// Recovery says whether the command goes on through an outage, and GiveUpSeconds for
	// how long it waits for the broker; 0 for ever.
	Recovery      bool    `json:"recovery"`
	GiveUpSeconds float64 `json:"give_up_seconds"`

	// The rest is about streams: 0 and empty for a queue.

	Partitions int `json:"partitions"` // of a super stream
	// SubEntry is the largest number of messages in a sub-entry batch; 1 for an
	// entry per message.
	SubEntry      int    `json:"sub_entry"`
	Compression   string `json:"compression"`
	PublisherName string `json:"publisher_name"`
	ConsumerName  string `json:"consumer_name"`
	Offset        string `json:"offset"` // where receive began, in the user's words
	Until         string `json:"until"`  // where receive was to end, in the user's words
	// StreamMaxBytes is how much the stream keeps, if the command was told; 0 for
	// everything.
	StreamMaxBytes uint64 `json:"stream_max_bytes"`
	// DiskBytes is how much the stream was expected to take on the broker's disk,
	// DiskFreeBytes how much was free there; nil if it is not known.
	DiskBytes     *uint64 `json:"disk_bytes"`
	DiskFreeBytes *uint64 `json:"disk_free_bytes"`
}

// Unexplained is the part of Duplicated that nothing explains; nil if it is not known.
func (r *Run) Unexplained() *uint64 {
	if r.Duplicated == nil {
		return nil
	}
	explained := Value(r.DuplicatedResent) + Value(r.DuplicatedRedelivered)
	return new(*r.Duplicated - min(*r.Duplicated, explained))
}

// Kind is the kind of queue or stream that a run went through. UnknownKind is that
// of a queue that existed already and is not as the run would have made it.
type Kind string

// The kinds, as they are in JSON and for --kind.
const (
	UnknownKind Kind = ""
	Classic     Kind = "classic"
	Quorum      Kind = "quorum"
	Stream      Kind = "stream"
	SuperStream Kind = "super-stream"
	Exchange    Kind = "exchange" // for send alone: it keeps nothing
)

// Broker is what is known about the broker.
type Broker struct {
	Product string `json:"product"`
	Version string `json:"version"`
	Private bool   `json:"private"` // thump started it
}

// Rate is count divided by seconds, or nil if either is not known or no time has
// passed.
func Rate(count *uint64, seconds *float64) *float64 {
	if count == nil || seconds == nil || *seconds <= 0 {
		return nil
	}
	return new(float64(*count) / *seconds)
}

// Value is the number that p points to, or zero if it is not known.
func Value[T uint64 | float64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}
