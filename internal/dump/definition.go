package dump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/thumpmq/thump"
)

// Stream is the kind of a stream, beside thump.Classic and thump.Quorum.
const Stream thump.QueueKind = "stream"

// Definition is what a queue, a stream or a super stream was declared with.
type Definition struct {
	Name       string
	Kind       thump.QueueKind // "" where it is not known
	Transient  bool
	AutoDelete bool
	// Arguments are those that the broker compares when a queue is declared again, without
	// x-queue-type.
	Arguments thump.Table
	// Partitions are those of a super stream, in their order.
	Partitions []Partition
	// Partial is why not all of it is known; "" where it is.
	Partial string
}

// declarationsMost bounds the questions of Describe: each but the last tells one setting.
const declarationsMost = 40

// Describe finds out what a queue or a stream was declared with. AMQP has no question for
// that. But to declare what exists changes nothing, and RabbitMQ's refusal names a setting
// that differs, with its value. IsNotFound is true of the error where there is none.
//
// Where the user may not declare it, or the broker says something unexpected, the definition
// is Partial, which is no error.
func Describe(ctx context.Context, client *thump.Client, name string) (Definition, error) {
	d := Definition{Name: name}
	if _, err := client.InspectQueue(ctx, name); err != nil {
		return d, err
	}
	d.Kind = thump.Classic // until something else is said
	told := make(map[string]bool)
	for range declarationsMost {
		_, err := client.DeclareQueue(ctx, d.Spec())
		if err == nil {
			return d, nil
		}
		refused, ok := errors.AsType[*thump.BrokerError](err)
		if !ok && ctx.Err() != nil {
			return d, err
		}
		difference, understood := parseDifference(refused, name)
		if !understood || told[difference.setting] {
			d.Partial = err.Error()
			break
		}
		told[difference.setting] = true
		d.set(difference)
	}
	if !told["x-queue-type"] {
		d.Kind = ""
	}
	return d, nil
}

// Spec is the queue or stream to declare.
func (d *Definition) Spec() thump.QueueSpec {
	return thump.QueueSpec{Name: d.Name, Kind: d.Kind, Transient: d.Transient, AutoDelete: d.AutoDelete, Arguments: d.Arguments}
}

// set notes what a queue was declared with.
func (d *Definition) set(is difference) {
	text, _ := is.value.(string)
	switch is.setting {
	case "durable":
		d.Transient = text == "false"
	case "auto_delete":
		d.AutoDelete = text == "true"
	case "x-queue-type":
		d.Kind = thump.QueueKind(text)
	case "x-dead-letter-strategy":
		// The library refuses what a broker would ignore, so it goes with others, which
		// are told later.
		d.Arguments.Set("x-overflow", string(thump.RejectPublish))
		if _, found := d.Arguments.Get("x-dead-letter-exchange"); !found {
			d.Arguments.Set("x-dead-letter-exchange", "")
		}
		fallthrough
	default:
		if is.value == nil {
			d.Arguments.Del(is.setting)
		} else {
			d.Arguments.Set(is.setting, is.value)
			giveUnit(&d.Arguments)
		}
	}
}

// giveUnit makes a stream's x-max-age what it can be declared with: RabbitMQ 4.3 tells it as
// milliseconds, "86400000", and takes only the likes of "86400s" itself.
func giveUnit(arguments *thump.Table) {
	age, _ := arguments.Get("x-max-age")
	text, _ := age.(string)
	if ms, err := strconv.ParseUint(text, 10, 64); err == nil {
		arguments.Set("x-max-age", fmt.Sprintf("%ds", ms/1000))
	}
}

// difference is a setting of a queue, and its value; nil for none.
type difference struct {
	setting string
	value   any
}

// parseDifference reads the broker's refusal to declare a queue with other settings
// (rabbit_misc.erl, assert_args_equivalence):
//
//	PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'q' in vhost '/':
//	received none but current is the value '60000' of type 'long'
//
// There is no type where a value of the same type was received.
func parseDifference(refused *thump.BrokerError, name string) (d difference, understood bool) {
	const inequivalent, current = "inequivalent arg '", " but current is "
	if refused == nil || refused.Protocol != thump.AMQP091 || refused.Code != 406 {
		return d, false
	}
	_, text, found := strings.Cut(refused.Text, inequivalent)
	setting, text, ofQueue := strings.Cut(text, "' for queue '")
	text, named := strings.CutPrefix(text, name+"' in vhost '")
	_, value, differs := strings.Cut(text, current)
	if !found || !ofQueue || !named || !differs {
		return d, false
	}
	if value == "none" {
		return difference{setting: setting}, true
	}
	kind := ""
	if typed, ok := strings.CutPrefix(value, "the value "); ok {
		const ofType = " of type '"
		at := strings.LastIndex(typed, ofType)
		if at < 0 {
			return d, false
		}
		value, kind = typed[:at], strings.TrimSuffix(typed[at+len(ofType):], "'")
	}
	value = strings.TrimPrefix(strings.TrimSuffix(value, "'"), "'")
	d = difference{setting: setting, value: value}
	switch kind {
	case "": // both are of one type, and it is one of the settings that are none of the arguments
	case "longstr":
	case "bool":
		d.value = value == "true"
	default:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return d, false
		}
		d.value = n
	}
	return d, true
}

// Fit leaves out the arguments that a queue or stream of this kind does not take, and
// returns their names.
func (d *Definition) Fit() (left []string) {
	both := []string{
		"x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-overflow",
		"x-dead-letter-exchange", "x-dead-letter-routing-key", "x-single-active-consumer",
	}
	take := map[thump.QueueKind][]string{
		thump.Classic: append(both, "x-max-priority"),
		thump.Quorum:  append(both, "x-delivery-limit", "x-dead-letter-strategy"),
		Stream:        {"x-max-length-bytes", "x-max-age", "x-stream-max-segment-size-bytes"},
	}[d.Kind]
	var fit thump.Table
	for _, f := range d.Arguments {
		if slices.Contains(take, f.Key) {
			fit = append(fit, f)
		} else {
			left = append(left, f.Key)
		}
	}
	d.Arguments = fit
	return left
}
