package move

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/dump"
)

// HeaderRedrives counts how often a message was redriven.
const HeaderRedrives = "x-thump-redrives"

// Origin is where a dead-lettered message came from, by its first death.
type Origin struct {
	Reason   string `json:"reason"`
	Queue    string `json:"queue"` // that it died in
	Exchange string `json:"exchange"`
	Key      string `json:"routing_key"`
}

// OriginOf returns where a message was published to before it died for the first time. ok
// is false for one that never died, as far as its headers say.
func OriginOf(d *thump.Delivery) (o Origin, at time.Time, ok bool) {
	deaths := d.Deaths()
	if len(deaths) == 0 {
		return Origin{}, time.Time{}, false
	}
	first := deaths[len(deaths)-1] // the latest is the first of the list
	// The list moves an entry to its front when its queue is where the message dies again:
	// these headers stay what they were.
	queue, _ := d.Header("x-first-death-queue").(string)
	reason, _ := d.Header("x-first-death-reason").(string)
	for _, death := range deaths {
		if death.Queue == queue && death.Reason == reason {
			first = death
		}
	}
	o = Origin{Reason: first.Reason, Queue: first.Queue, Exchange: first.Exchange}
	if len(first.RoutingKeys) > 0 {
		o.Key = first.RoutingKeys[0] // CC keys come after it
	}
	return o, first.Time, true
}

// redrives is how often a message was redriven before.
func redrives(d *thump.Delivery) int {
	switch n := d.Header(HeaderRedrives).(type) {
	case int64:
		return int(n)
	case int32:
		return int(n)
	default:
		return 0
	}
}

// Redriver sends dead letters back to where they came from. It is safe for concurrent use.
type Redriver struct {
	client *thump.Client
	max    int
	direct bool

	mu   sync.Mutex
	gone map[string]error // by "queue NAME" and "exchange NAME"; nil for what is there
}

// NewRedriver makes a redriver that asks client what is there. A message that was redriven
// most times stays where it is; 0 for no limit. With direct, messages go to the queue that
// they died in, past the exchange, which may lead to other queues as well.
func NewRedriver(client *thump.Client, most int, direct bool) *Redriver {
	return &Redriver{client: client, max: most, direct: direct, gone: make(map[string]error)}
}

// Message makes what goes back of a dead letter, for Job.Message with the default exchange as
// the target. Its error says why the message stays: it never died, what it came from is
// gone, or it was redriven too often.
//
// The headers of its deaths go: RabbitMQ would count on in them, and take the next death
// for a cycle. CC goes, too: it would send the message to more queues than the one that it
// died in. HeaderRedrives says how often it was redriven.
func (r *Redriver) Message(ctx context.Context, d *thump.Delivery) (thump.Message, error) {
	origin, err := r.Check(ctx, d)
	if err != nil {
		return thump.Message{}, err
	}
	msg, err := Copy(append(DeathHeaders(), "CC")...)(d)
	if err != nil {
		return thump.Message{}, err
	}
	msg.Properties.Headers.Set(HeaderRedrives, int64(redrives(d)+1))
	msg.Exchange, msg.RoutingKey = origin.Exchange, origin.Key
	return msg, nil
}

// DeathHeaders are the headers that RabbitMQ gives a message that it dead-letters.
func DeathHeaders() []string {
	return []string{
		"x-death", "x-first-death-reason", "x-first-death-queue", "x-first-death-exchange",
		"x-last-death-reason", "x-last-death-queue", "x-last-death-exchange",
	}
}

// Check returns where a dead letter goes, and why it can't.
func (r *Redriver) Check(ctx context.Context, d *thump.Delivery) (Origin, error) {
	origin, _, ok := OriginOf(d)
	if !ok {
		return origin, fmt.Errorf("it has no x-death header: nothing says where it came from")
	}
	if n := redrives(d); r.max > 0 && n >= r.max {
		return origin, fmt.Errorf("it was redriven %d times already (header %s)", n, HeaderRedrives)
	}
	if err := r.there(ctx, "queue", origin.Queue); err != nil {
		return origin, err
	}
	if r.direct {
		origin.Exchange, origin.Key = "", origin.Queue
	}
	if origin.Exchange == "" && origin.Key == "" {
		return origin, fmt.Errorf("it has no routing key for the default exchange")
	}
	return origin, r.there(ctx, "exchange", origin.Exchange)
}

// there returns an error if a queue or exchange is gone. It asks once for each.
func (r *Redriver) there(ctx context.Context, what, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := what + " " + name
	err, known := r.gone[key]
	if known || name == "" { // the default exchange is always there
		return err
	}
	if what == "queue" {
		_, err = r.client.InspectQueue(ctx, name)
	} else {
		err = r.client.InspectExchange(ctx, name)
	}
	gone := thump.IsNotFound(err)
	if gone {
		err = fmt.Errorf("the %s %q, which it came from, is gone", what, name)
	}
	if (err == nil || gone) && len(r.gone) < originsMost { // another error may pass
		r.gone[key] = err
	}
	return err
}

// originsMost bounds how many queues and exchanges are remembered, and how many groups a
// survey has.
const originsMost = 10_000

// Group is dead letters of one origin.
type Group struct {
	Origin
	Count  uint64    `json:"count"`
	Oldest time.Time `json:"oldest"` // when the first of them died first
	Sample string    `json:"sample"` // what to find one of them by
	Stays  string    `json:"stays"`  // why they would stay, "" if they would go back
}

// Survey reads the dead letters of a queue without taking one, and groups them, the most
// first, but for those that skip, where it is set, says not to. It reads limit messages, as
// dump.Browse does.
func Survey(ctx context.Context, client *thump.Client, queue string, r *Redriver, limit uint64, skip func(*thump.Delivery) (bool, error)) ([]Group, error) {
	var ids identifier
	groups := make(map[Group]*Group)
	var err error
	if limit > 0 {
		_, err = dump.Browse(ctx, client, dump.Browsing{Queue: queue, Most: limit, Each: func(d *thump.Delivery) error {
			if skip != nil {
				if not, err := skip(d); not && err == nil {
					return nil
				}
			}
			r.survey(ctx, d, groups, &ids)
			return nil
		}})
	}
	list := make([]Group, 0, len(groups))
	for _, g := range groups {
		list = append(list, *g)
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].Count > list[j].Count || list[i].Count == list[j].Count && list[i].Oldest.Before(list[j].Oldest)
	})
	return list, err
}

// survey adds a dead letter to its group.
func (r *Redriver) survey(ctx context.Context, d *thump.Delivery, groups map[Group]*Group, ids *identifier) {
	origin, err := r.Check(ctx, d)
	key := Group{Origin: origin}
	if err != nil {
		key.Stays = err.Error()
	}
	_, at, _ := OriginOf(d)
	g := groups[key]
	if g == nil {
		if len(groups) >= originsMost {
			return
		}
		g = &Group{Origin: origin, Stays: key.Stays, Oldest: at, Sample: named(d, ids.of(d, ""))}
		groups[key] = g
	}
	g.Count++
	if at.Before(g.Oldest) {
		g.Oldest = at
	}
}
