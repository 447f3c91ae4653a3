// Package result is the record of a run: what was asked for, what was measured,
// and the verdict. Reports read it and nothing else, so everything that they
// say can be said again from the JSON alone.
package result

import (
	"encoding/json"
	"fmt"
	"io"
)

// Version is the version of the record that this package writes. It changes
// when a key changes its meaning or goes; keys may be added without.
const Version = 1

// Verdict is the run in a word.
type Verdict string

const (
	// OK means that everything sent was confirmed (where confirms were asked for) and
	// received once, undamaged, and nothing else came.
	OK Verdict = "ok"
	// Violated means that a message was lost, duplicated, corrupted or unexpected.
	Violated Verdict = "violated"
	// Failed means that the run could not be completed, or that the broker did
	// not take every message; Reason says which. What was received was as it
	// should be.
	Failed Verdict = "failed"
	// Interrupted means that the user ended the run early; nothing was wrong
	// until then.
	Interrupted Verdict = "interrupted"
)

// Result is the record of a run. Numbers that are not known, or that the
// command does not measure, are nil: null in JSON.
type Result struct {
	Version  int      `json:"version"`
	Command  string   `json:"command"` // "run", "send" or "receive"
	Verdict  Verdict  `json:"verdict"`
	Reason   *string  `json:"reason"` // why the verdict is not ok
	Settings Settings `json:"settings"`
	Broker   Broker   `json:"broker"`

	// Sent = Confirmed + Rejected + Returned + Unknown, or, without confirms,
	// what left for the broker.
	Sent      *uint64 `json:"sent"`
	Confirmed *uint64 `json:"confirmed"`
	Rejected  *uint64 `json:"rejected"`
	Returned  *uint64 `json:"returned"`
	Unknown   *uint64 `json:"unknown"`

	// Received = Unique + Duplicated + Corrupted + Unexpected. Every consumer of a
	// stream gets every message and is judged by itself: what follows is then
	// summed over the consumers.
	Received   *uint64 `json:"received"`
	Unique     *uint64 `json:"unique"`
	Lost       *uint64 `json:"lost"` // nil while it is not known what is left in the queue
	Duplicated *uint64 `json:"duplicated"`
	Reordered  *uint64 `json:"reordered"` // in a super stream: within a partition
	Corrupted  *uint64 `json:"corrupted"`
	Unexpected *uint64 `json:"unexpected"`

	// SendSeconds is from the first publish to the last confirm,
	// ReceiveSeconds from the first delivery to the last, TotalSeconds from
	// the first of either to the last of either.
	SendSeconds    *float64 `json:"send_seconds"`
	ReceiveSeconds *float64 `json:"receive_seconds"`
	TotalSeconds   *float64 `json:"total_seconds"`
	// Rates are over what was confirmed (without confirms: sent) and received.
	SendRatePerSecond    *float64 `json:"send_rate_per_second"`
	ReceiveRatePerSecond *float64 `json:"receive_rate_per_second"`

	ClientCPUSeconds   *float64 `json:"client_cpu_seconds"`
	BrokerCPUSeconds   *float64 `json:"broker_cpu_seconds"`
	ClientRSSPeakBytes *uint64  `json:"client_rss_peak_bytes"`

	// BytesOnWire is the size of the frames that carried the messages to a
	// stream, CompressionRatio the size of the bodies over it: below 1 where the
	// frames add more than compression saves. Both are nil for a queue.
	BytesOnWire      *uint64  `json:"bytes_on_wire"`
	CompressionRatio *float64 `json:"compression_ratio"`

	// BacklogAtSendEnd is how many messages had been sent and not yet received
	// when the last was confirmed: what the queue held then, or what a stream's
	// consumers had still to read, on average.
	BacklogAtSendEnd *uint64 `json:"backlog_at_send_end"`
	// LeftInQueue is how many messages the run left in the queue; nil for a
	// stream, which keeps all.
	LeftInQueue *uint64 `json:"left_in_queue"`
	// LostMessages are the first ranges of lost messages: "17", "20-31".
	LostMessages []string `json:"lost_messages"`
}

// Settings are the run's effective settings: the defaults and what was found
// out filled in.
type Settings struct {
	ThumpVersion string `json:"thump_version"`
	URL          string `json:"url"`        // without the password
	StreamURL    string `json:"stream_url"` // likewise; where it was given
	Queue        string `json:"queue"`      // the queue, stream or super stream
	// Kind is "classic", "quorum", "stream" or "super-stream"; empty when the
	// queue was there already and its kind is not known.
	Kind string `json:"kind"`
	// Durable is nil when the queue was there already and it is not known.
	Durable *bool `json:"durable"`
	// Count is how many messages were asked for; 0 for no limit.
	Count      uint64 `json:"count"`
	Body       string `json:"body"`       // "tutorial", or "100 bytes"
	BodyBytes  int    `json:"body_bytes"` // of the largest body
	Publishers int    `json:"publishers"`
	Consumers  int    `json:"consumers"`
	Window     int    `json:"window"`   // for each publisher, in messages
	Prefetch   int    `json:"prefetch"` // for each consumer, in messages
	Confirms   bool   `json:"confirms"`
	AutoAck    bool   `json:"auto_ack"`
	Sequential bool   `json:"sequential"`

	// What follows is for streams: 0 and empty for a queue.

	Partitions int `json:"partitions"` // of a super stream
	// SubEntry is the most messages of a sub-entry batch; 1 for an entry per
	// message.
	SubEntry      int    `json:"sub_entry"`
	Compression   string `json:"compression"`
	PublisherName string `json:"publisher_name"`
	ConsumerName  string `json:"consumer_name"`
	Offset        string `json:"offset"` // where receive began
	Until         string `json:"until"`  // when what receive asked for ends
	// StreamMaxBytes is how much a stream keeps that the command has made; 0 for
	// everything.
	StreamMaxBytes uint64 `json:"stream_max_bytes"`
	// DiskBytes is what the stream was expected to take on the broker's disk,
	// DiskFreeBytes what was free there; nil where it can't be told.
	DiskBytes     *uint64 `json:"disk_bytes"`
	DiskFreeBytes *uint64 `json:"disk_free_bytes"`
}

// Streams reports whether the command worked on a stream or super stream.
func (s *Settings) Streams() bool { return s.Kind == "stream" || s.Kind == "super-stream" }

// Broker is what is known of the broker.
type Broker struct {
	Product string `json:"product"`
	Version string `json:"version"`
	// Private says that thump started it.
	Private bool `json:"private"`
}

// Write writes r as one line-broken JSON object with a newline at its end.
func (r *Result) Write(w io.Writer) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("result: writing the JSON: %w", err)
	}
	return nil
}

// Read reads a record that Write wrote. It refuses the versions of a newer
// thump.
func Read(rd io.Reader) (*Result, error) {
	var r Result
	if err := json.NewDecoder(rd).Decode(&r); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	if r.Version < 1 || r.Version > Version {
		return nil, fmt.Errorf("result: record of version %d, this thump reads 1 to %d", r.Version, Version)
	}
	return &r, nil
}

// Judge sets the verdict and its reason from the counts. ended is why the run
// stopped before its end, or nil; interrupted says that the user did that.
// A violation outweighs either: it is true whatever else went wrong.
func (r *Result) Judge(ended error, interrupted bool) {
	unconfirmed := Value(r.Rejected) + Value(r.Returned) + Value(r.Unknown)
	switch {
	case r.violation() != "":
		r.setVerdict(Violated, r.violation())
	case ended != nil:
		r.setVerdict(Failed, ended.Error())
	case interrupted:
		r.setVerdict(Interrupted, "interrupted")
	case unconfirmed > 0:
		r.setVerdict(Failed, fmt.Sprintf("the broker did not confirm %d messages: %d rejected, %d returned, %d unknown",
			unconfirmed, Value(r.Rejected), Value(r.Returned), Value(r.Unknown)))
	default:
		r.Verdict, r.Reason = OK, nil
	}
}

func (r *Result) setVerdict(v Verdict, reason string) { r.Verdict, r.Reason = v, &reason }

// violation names the counts that must be zero and are not.
func (r *Result) violation() string {
	var text string
	for _, c := range []struct {
		name  string
		count *uint64
	}{
		{"lost", r.Lost},
		{"duplicated", r.Duplicated},
		{"corrupted", r.Corrupted},
		{"unexpected", r.Unexpected},
	} {
		if Value(c.count) == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", *c.count, c.name)
	}
	return text
}

// Rate is count over seconds, or nil where either is not known or no time
// passed.
func Rate(count *uint64, seconds *float64) *float64 {
	if count == nil || seconds == nil || *seconds <= 0 {
		return nil
	}
	return new(float64(*count) / *seconds)
}

// Value is the number that p points to, or zero where it is not known.
func Value[T uint64 | float64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}
