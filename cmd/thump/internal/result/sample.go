package result

// Sample is what was measured at one moment of a run. They follow each other about once a
// second. Counts are since the run began; what is not known is nil.
type Sample struct {
	Seconds float64 `json:"seconds"` // since the run began

	Sent      uint64 `json:"sent"` // published, whatever became of it
	Confirmed uint64 `json:"confirmed"`
	Received  uint64 `json:"received"`
	Expired   uint64 `json:"expired"` // in their queue, and no part of Received

	// WantedRate is how many messages a second were asked for at this moment; nil for as many
	// as possible. LateSeconds is how far the sending was behind that at most since the sample
	// before; nil where nothing was to be sent.
	WantedRate  *float64 `json:"wanted_rate"`
	LateSeconds *float64 `json:"late_seconds"`

	// The latencies of what was confirmed and received since the sample before; nil where
	// they are not measured, or nothing was.
	ConfirmLatency *Percentiles `json:"confirm_latency"`
	ReceiveLatency *Percentiles `json:"receive_latency"`

	Client ClientSample  `json:"client"`
	Broker *BrokerSample `json:"broker"`
}

// ClientSample is what the process of the command used since the sample before.
type ClientSample struct {
	CPU            *float64 `json:"cpu"` // processors: 1.5 is one and a half
	MemoryBytes    *uint64  `json:"memory_bytes"`
	GCPauseSeconds *float64 `json:"gc_pause_seconds"`

	more int // than one sample that CPU is the mean of
}

// BrokerSample is what a broker said of itself and of the queue or stream.
type BrokerSample struct {
	// Ready and Unacked are the messages in the queues of the run; of a stream, Ready is
	// what is stored in it.
	Ready   *uint64 `json:"ready"`
	Unacked *uint64 `json:"unacked"`

	PublishRate *float64 `json:"publish_rate"` // messages a second, as the broker counts
	DeliverRate *float64 `json:"deliver_rate"`

	CPU           *float64 `json:"cpu"` // processors; only of a broker on this machine
	MemoryBytes   *uint64  `json:"memory_bytes"`
	DiskFreeBytes *uint64  `json:"disk_free_bytes"`

	// How many of the run's connections are in flow control, and how many are blocked.
	Flow    *uint64 `json:"flow"`
	Blocked *uint64 `json:"blocked"`

	Alarms []string `json:"alarms"` // "memory", "disk"

	more int // than one sample that CPU is the mean of
}

// Percentiles are those of one interval, in seconds.
type Percentiles struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// Latency is the latency of a whole run, in seconds. No message is left out.
type Latency struct {
	Percentiles
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P9999 float64 `json:"p9999"`

	// FromIntended says that it counts from when a message was to be sent, which a rate says,
	// and not from when it was sent.
	FromIntended bool `json:"from_intended"`
	// ClockOffset and ClockUncertainty are, where sender and receiver are different hosts, the
	// difference of their clocks that was subtracted, and how far off it may be.
	ClockOffsetSeconds      *float64 `json:"clock_offset_seconds"`
	ClockUncertaintySeconds *float64 `json:"clock_uncertainty_seconds"`
	// ClockDriftSeconds is by how much that difference has changed since the clock was read first;
	// nil where it was read once.
	ClockDriftSeconds *float64 `json:"clock_drift_seconds"`
	// Early is how many messages came before they were sent, by two clocks that are not exact:
	// they count as having taken no time.
	Early uint64 `json:"early"`

	// Histogram is all of it, as HdrHistogram encodes it (V2, compressed, base64): values in
	// microseconds, three digits. Histograms of several runs can be added up.
	Histogram string `json:"histogram"`
}

// Event is something that happened during a run.
type Event struct {
	Seconds float64   `json:"seconds"` // since the run began
	Kind    EventKind `json:"kind"`
	Text    string    `json:"text"` // one line; a broker may have written parts of it
}

// EventKind tells events apart.
type EventKind string

// The kinds of events.
const (
	Disconnected EventKind = "disconnected"
	Recovered    EventKind = "recovered"
	Blocked      EventKind = "blocked" // by an alarm of the broker
	Unblocked    EventKind = "unblocked"
	AlarmRaised  EventKind = "alarm raised"
	AlarmCleared EventKind = "alarm cleared"
	Phase        EventKind = "phase" // another part of the load begins
	SendingEnded EventKind = "sending ended"
	Interruption EventKind = "interrupted" // the user ended the run
)
