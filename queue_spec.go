package thump

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/version"
)

// QueueKind is a queue type of RabbitMQ (x-queue-type).
type QueueKind string

// The queue kinds. A stream is declared with DeclareStream.
const (
	Classic QueueKind = "classic"
	Quorum  QueueKind = "quorum"
)

// queueStream is the kind that DeclareQueue makes a stream with; DeclareStream has
// its settings.
const queueStream QueueKind = "stream"

// Overflow is what happens to a message that a queue has no room for (x-overflow).
type Overflow string

// The ways to overflow.
const (
	DropHead         Overflow = "drop-head"          // the oldest message makes room: dropped, or dead-lettered
	RejectPublish    Overflow = "reject-publish"     // the new message is Rejected
	RejectPublishDLX Overflow = "reject-publish-dlx" // and dead-lettered; for classic queues
)

// DeadLetterStrategy is how a quorum queue hands on what it dead-letters
// (x-dead-letter-strategy).
type DeadLetterStrategy string

// The strategies.
const (
	AtMostOnce  DeadLetterStrategy = "at-most-once"  // a message may be lost on its way
	AtLeastOnce DeadLetterStrategy = "at-least-once" // it stays until the target has confirmed it
)

// RetryType says which messages of a quorum queue wait before they are delivered
// again (x-delayed-retry-type).
type RetryType string

// The retry types.
const (
	RetryAll      RetryType = "all"      // all that come back
	RetryFailed   RetryType = "failed"   // those whose delivery counts as failed
	RetryReturned RetryType = "returned" // those that were given back uncounted
)

// DelayedRetry lets messages that come back to a quorum queue wait before they are
// delivered again: Min times the number of deliveries, and at most Max. It needs
// RabbitMQ 4.3.
type DelayedRetry struct {
	Type     RetryType     // default RetryAll
	Min, Max time.Duration // in whole milliseconds; Max is Min by default
}

// QueueSpec is a queue to declare. The zero value of everything but Name is a
// durable, shared queue of the vhost's default kind, which is classic unless an
// operator changed it, without limits.
//
// Times are rounded up to whole milliseconds.
type QueueSpec struct {
	Name       string // empty: the broker chooses one
	Kind       QueueKind
	Transient  bool // not durable: gone when the broker restarts
	AutoDelete bool // gone when its last consumer goes
	Exclusive  bool // the declaring connection's alone, and gone with it; for ConsumerConfig.Declare

	MessageTTL time.Duration // how long a message stays (x-message-ttl); 0: for ever
	Expires    time.Duration // how long the queue stays while nobody uses it (x-expires); 0: for ever

	MaxLength      int64    // the most ready messages (x-max-length); 0: no limit
	MaxLengthBytes int64    // the most bytes in the bodies of those (x-max-length-bytes); 0: no limit
	Overflow       Overflow // default DropHead

	// DeadLetterExchange takes messages that are rejected, expire, overflow, or reach
	// the DeliveryLimit (x-dead-letter-exchange). DeadLetterRoutingKey replaces their
	// own key (x-dead-letter-routing-key). With a key alone the exchange is the
	// default one, so that the key names a queue. Default: such messages are dropped.
	DeadLetterExchange   string
	DeadLetterRoutingKey string
	// DeadLetterStrategy is for quorum queues; default AtMostOnce. AtLeastOnce needs
	// Overflow to be RejectPublish.
	DeadLetterStrategy DeadLetterStrategy

	// DeliveryLimit is how often a message of a quorum queue may come back before it is
	// dead-lettered or dropped (x-delivery-limit). 0 is the broker's own limit, which
	// is 20 since RabbitMQ 4.0 and none before; -1 is none.
	DeliveryLimit int
	// DelayedRetry is for quorum queues, and RabbitMQ 4.3.
	DelayedRetry DelayedRetry

	SingleActiveConsumer bool  // one consumer at a time, the others stand by (x-single-active-consumer)
	MaxPriority          uint8 // the highest priority of messages, for classic queues (x-max-priority); 0: no priorities

	// ConsumerTimeout is how long a consumer may hold a delivery that it does not settle
	// (x-consumer-timeout; RabbitMQ 3.12, and since 4.3 for quorum queues only). 0 is
	// the broker's, 30 minutes by default.
	ConsumerTimeout time.Duration

	// Arguments are those that have no field here. One that says the same as a field is
	// sent once, and one that says something else is refused.
	Arguments Table
}

// arguments returns those of queue.declare, or an error that lists every fault of
// the spec.
func (q *QueueSpec) arguments() (Table, error) {
	a := queueArguments{table: slices.Clone(q.Arguments)}
	for i := range a.table { // they are compared with those of the fields
		a.table[i].Value = plain(a.table[i].Value)
	}
	a.repeated()
	a.text("Kind", "x-queue-type", string(q.Kind))
	a.duration("MessageTTL", "x-message-ttl", q.MessageTTL)
	a.duration("Expires", "x-expires", q.Expires)
	a.size("MaxLength", "x-max-length", q.MaxLength)
	a.size("MaxLengthBytes", "x-max-length-bytes", q.MaxLengthBytes)
	a.text("Overflow", "x-overflow", string(q.Overflow))
	if q.DeadLetterExchange != "" || q.DeadLetterRoutingKey != "" {
		a.set("DeadLetterExchange", "x-dead-letter-exchange", q.DeadLetterExchange)
	}
	a.text("DeadLetterRoutingKey", "x-dead-letter-routing-key", q.DeadLetterRoutingKey)
	a.text("DeadLetterStrategy", "x-dead-letter-strategy", string(q.DeadLetterStrategy))
	if q.DeliveryLimit < -1 {
		a.fault("DeliveryLimit is %d", q.DeliveryLimit)
	} else if q.DeliveryLimit != 0 {
		a.set("DeliveryLimit", "x-delivery-limit", int64(q.DeliveryLimit))
	}
	a.delayedRetry(q.DelayedRetry)
	if q.SingleActiveConsumer {
		a.set("SingleActiveConsumer", "x-single-active-consumer", true)
	}
	if q.MaxPriority > 0 {
		a.set("MaxPriority", "x-max-priority", int64(q.MaxPriority))
	}
	a.duration("ConsumerTimeout", "x-consumer-timeout", q.ConsumerTimeout)
	a.meant()
	return a.table, errors.Join(a.faults...)
}

// queueArguments collects the arguments of a queue, and what is wrong with them.
type queueArguments struct {
	table  Table
	faults []error
}

func (a *queueArguments) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Errorf("QueueSpec."+format, args...))
}

// repeated refuses arguments that are given twice: RabbitMQ takes one of them.
func (a *queueArguments) repeated() {
	seen := make(map[string]bool, len(a.table))
	for _, f := range a.table {
		if seen[f.Key] {
			a.fault("Arguments has %s twice", f.Key)
		}
		seen[f.Key] = true
	}
}

// set sets the argument of a field, unless Arguments has it.
func (a *queueArguments) set(field, key string, value any) {
	given, found := a.table.Get(key)
	switch {
	case !found:
		a.table = append(a.table, Field{Key: key, Value: value})
	case integer(given) != integer(value):
		a.fault("%s says %v, and Arguments has %s %v", field, value, key, given)
	}
}

// integer is an integer of any type as an int64, and anything else as it is, so that
// two values can be compared.
func integer(value any) any {
	v := reflect.ValueOf(value)
	switch {
	case v.CanInt():
		return v.Int()
	case v.CanUint() && v.Uint() <= math.MaxInt64:
		return int64(v.Uint())
	case v.IsValid() && !v.Comparable():
		return fmt.Sprint(value)
	default:
		return value
	}
}

func (a *queueArguments) text(field, key, value string) {
	if value != "" {
		a.set(field, key, value)
	}
}

func (a *queueArguments) size(field, key string, n int64) {
	switch {
	case n < 0:
		a.fault("%s is %d", field, n)
	case n > 0:
		a.set(field, key, n)
	}
}

func (a *queueArguments) duration(field, key string, d time.Duration) {
	switch {
	case d < 0:
		a.fault("%s is %v", field, d)
	case d > 0:
		a.set(field, key, int64(milliseconds(d)))
	}
}

// delayedRetry sets what messages that come back wait for.
func (a *queueArguments) delayedRetry(r DelayedRetry) {
	if r == (DelayedRetry{}) {
		return
	}
	setDefault(&r.Type, RetryAll)
	switch {
	case r.Min <= 0:
		a.fault("DelayedRetry.Min is %v: RabbitMQ would not delay anything", r.Min)
		return
	case r.Max != 0 && r.Max < r.Min:
		a.fault("DelayedRetry.Max is %v, less than Min, %v", r.Max, r.Min)
		return
	}
	a.text("DelayedRetry.Type", "x-delayed-retry-type", string(r.Type))
	a.duration("DelayedRetry.Min", "x-delayed-retry-min", r.Min)
	a.duration("DelayedRetry.Max", "x-delayed-retry-max", r.Max)
}

// meant refuses what RabbitMQ accepts and takes no notice of.
func (a *queueArguments) meant() {
	get := func(key string) any { v, _ := a.table.Get(key); return v }
	if get("x-queue-type") == string(Quorum) && get("x-overflow") == string(RejectPublishDLX) {
		a.fault("Overflow is %s, which a quorum queue takes for %s", RejectPublishDLX, DropHead)
	}
	if get("x-dead-letter-strategy") != string(AtLeastOnce) {
		return
	}
	if get("x-overflow") != string(RejectPublish) {
		a.fault("DeadLetterStrategy is %s, which RabbitMQ takes for %s unless Overflow is %s", AtLeastOnce, AtMostOnce, RejectPublish)
	}
	if _, found := a.table.Get("x-dead-letter-exchange"); !found {
		a.fault("DeadLetterStrategy is set, and neither DeadLetterExchange nor DeadLetterRoutingKey")
	}
}

// supported refuses fields that a broker of this version accepts and takes no notice
// of.
func (q *QueueSpec) supported(server string) error {
	switch {
	case q.DelayedRetry != (DelayedRetry{}) && !version.AtLeast(server, 4, 3):
		return &streamconn.VersionError{What: "QueueSpec.DelayedRetry", Needs: "4.3", Version: server}
	case q.ConsumerTimeout != 0 && !version.AtLeast(server, 3, 12):
		return &streamconn.VersionError{What: "QueueSpec.ConsumerTimeout", Needs: "3.12", Version: server}
	default:
		return nil
	}
}

// check lists what is wrong with the names of a spec that is declared in vhost, with
// these arguments.
func (q *QueueSpec) check(vhost string, arguments Table) error {
	var name error
	if kind, _ := arguments.Get("x-queue-type"); kind == string(queueStream) {
		name = checkStreamName(vhost, q.Name)
	} else {
		name = checkText("the name of a queue", q.Name)
	}
	return errors.Join(name,
		checkText("QueueSpec.DeadLetterExchange", q.DeadLetterExchange),
		checkKey("QueueSpec.DeadLetterRoutingKey", q.DeadLetterRoutingKey))
}
