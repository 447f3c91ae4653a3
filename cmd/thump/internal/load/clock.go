package load

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
)

// clockQueue begins the names of queues where a sender is asked for the time.
const clockQueue = "thump-clock-"

// thisMachine names this machine's clock: all processes that share it say the same, those in
// other containers too. Others say something else.
//
//nolint:gochecknoglobals // it does not change while the machine runs
var thisMachine = sync.OnceValue(func() string {
	name, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		host, _ := os.Hostname()
		name = []byte(host)
	}
	h := fnv.New64a()
	h.Write(bytes.TrimSpace(name))
	return strconv.FormatUint(h.Sum64(), 36)
})

// clockKeeper answers for the clock of a sender: whoever puts a message into its queue gets
// the time back.
type clockKeeper struct {
	name clockName
	con  *thump.Consumer
	pub  *thump.Publisher
	done chan struct{}
}

// keepClock starts to answer. Where the broker lets nobody make a queue for that, nobody is
// answered: receivers on this machine need no answer.
func keepClock(ctx context.Context, client *thump.Client, due bool) *clockKeeper {
	k := &clockKeeper{name: clockName{machine: thisMachine(), due: due}}
	queue := clockQueue + rand.Text()
	var err error
	k.con, err = client.Consumer(ctx, thump.ConsumerConfig{
		Declare: &thump.QueueSpec{Name: queue, Kind: thump.Classic, Expires: time.Minute}, AutoAck: true,
	})
	if err != nil {
		return k
	}
	if k.pub, err = client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue)}); err != nil {
		_ = k.con.Close(ctx)
		k.con = nil
		return k
	}
	k.name.queue, k.done = queue, make(chan struct{})
	go k.answer(context.WithoutCancel(ctx))
	return k
}

// answer ends when the consumer closes.
func (k *clockKeeper) answer(ctx context.Context) {
	defer close(k.done)
	for {
		batch, err := k.con.Receive(ctx)
		if err != nil {
			return
		}
		now := strconv.AppendInt(nil, time.Now().UnixMicro(), 10)
		for i := range batch.Deliveries {
			if to := batch.Deliveries[i].ReplyTo(); to != "" {
				// Nobody waits long for an answer, and who gets none asks again.
				_, _ = k.pub.Publish(ctx, thump.Message{Body: now, RoutingKey: to})
			}
		}
	}
}

func (k *clockKeeper) close(ctx context.Context) {
	if k.con == nil {
		return
	}
	_ = k.con.Close(ctx)
	<-k.done
	_ = k.pub.Close(ctx)
}

// senderClock is what is known of a sender's clock. It is safe for concurrent use.
type senderClock struct {
	own, due bool   // it is this machine's; messages say when they were due
	queue    string // where it is read

	first   *reading                // valid once latest is
	latest  atomic.Pointer[reading] // nil while it is read for the first time
	reading atomic.Bool             // somebody reads it again

	read    chan struct{} // closed when it was read for the first time
	mu      sync.Mutex
	waiting []took // until then; without the offset
}

// waitingMost is how many messages wait for a clock to be read: in clockTimeout few receivers take more.
// Where they do they wait as well, so that none is dropped.
const waitingMost = 1 << 20

// await keeps how long a message seems to have taken until the clock was read; false if it was.
func (s *senderClock) await(d time.Duration) bool {
	s.mu.Lock()
	if len(s.waiting) == waitingMost {
		s.mu.Unlock()
		<-s.read
		return false
	}
	defer s.mu.Unlock()
	if s.latest.Load() != nil {
		return false
	}
	s.waiting = append(s.waiting, took{d, 1})
	return true
}

// wasRead says what the clock was found to say for the first time, and returns what has waited for
// that.
func (s *senderClock) wasRead(r *reading) (waited []took) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = r
	s.latest.Store(r)
	close(s.read)
	waited, s.waiting = s.waiting, nil
	return waited
}

// reading is what a clock was found to say.
type reading struct {
	ok bool // it has said something
	// offset is by how much the clock is ahead of this one. It, and those of the readings before,
	// may be off by uncertainty.
	offset, uncertainty time.Duration
	at                  time.Time
	again               int // how many readings there were before
}

// clocks are those of the senders that messages come from. It is safe for concurrent use.
type clocks struct {
	client *thump.Client
	// waited is told of what has waited for a clock that was read now.
	waited func(*senderClock, []took)
	all    sync.WaitGroup // who read one

	mu    sync.Mutex
	known map[string]*senderClock
}

// clocksMost is how many different clocks are asked. Each costs a moment, and a header is what
// anybody writes.
const clocksMost = 100

// of is what is known of the clock with that name. When somebody asks for the first time, its sender
// is asked, beside what goes on: a consumer that waited for the answer would be late for what comes
// meanwhile, and all of that seem slow.
func (c *clocks) of(ctx context.Context, name string) *senderClock {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, there := c.known[name]
	if there {
		return s
	}
	clock, ok := parseClockName(name)
	s = &senderClock{due: clock.due, queue: clock.queue, read: make(chan struct{})}
	s.own = ok && clock.machine == thisMachine()
	if ok = ok && len(c.known) < clocksMost; ok {
		if c.known == nil {
			c.known = make(map[string]*senderClock)
		}
		c.known[name] = s
	}
	if !ok || s.own || s.queue == "" {
		s.wasRead(&reading{ok: ok && s.own})
		return s
	}
	c.all.Go(func() {
		r := readClock(ctx, c.client, s.queue)
		c.waited(s, s.wasRead(&r))
	})
	return s
}

// refresh reads a clock again, beside what goes on, if it was read some time ago: clocks drift, and
// are set.
func (c *clocks) refresh(ctx context.Context, s *senderClock, now time.Time) {
	before := s.latest.Load()
	if s.own || before == nil || !before.ok || now.Sub(before.at) < clockEvery || !s.reading.CompareAndSwap(false, true) {
		return
	}
	c.all.Go(func() {
		defer s.reading.Store(false)
		r := readClock(ctx, c.client, s.queue)
		if r.ok {
			r.uncertainty, r.again = max(r.uncertainty, before.uncertainty), before.again+1
		} else { // the sender may have ended
			r = *before
			r.at = now
		}
		s.latest.Store(&r)
	})
}

// drift is by how much the clock has gone further ahead between the first reading and the latest;
// ok is false if it was read once.
func (s *senderClock) drift() (d time.Duration, ok bool) {
	latest := s.latest.Load()
	return latest.offset - s.first.offset, latest.again > 0
}

const (
	// clockEvery is how often a clock is read while messages by it come.
	clockEvery = 10 * time.Second
	// clockQuestions is how often a clock is read: the quickest answer says most.
	clockQuestions = 20
	// clockTimeout is how long all answers may take.
	clockTimeout = 3 * time.Second
)

// readClock asks a sender for the time: through the broker, as that is what both can reach. The
// answer was given between question and receipt, and nobody knows when; so half of the quickest
// round trip is what the difference may be off by.
func readClock(ctx context.Context, client *thump.Client, queue string) (r reading) {
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	replies, err := client.Consumer(ctx, thump.ConsumerConfig{Declare: &thump.QueueSpec{Exclusive: true}, AutoAck: true})
	if err != nil {
		return r
	}
	defer func() { _ = replies.Close(ctx) }()
	pub, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue)})
	if err != nil {
		return r
	}
	defer func() { _ = pub.Close(ctx) }()
	question := thump.Message{Properties: &thump.Properties{ReplyTo: replies.Queue(), Expiration: clockTimeout}}
	for range clockQuestions {
		asked := time.Now()
		theirs, err := askClock(ctx, pub, replies, question)
		if err != nil {
			break // what was answered before counts
		}
		trip := time.Since(asked)
		if !r.ok || trip/2 < r.uncertainty {
			r = reading{ok: true, offset: theirs.Sub(asked.Add(trip / 2)), uncertainty: trip / 2, at: asked}
		}
	}
	return r
}

func askClock(ctx context.Context, pub *thump.Publisher, replies *thump.Consumer, question thump.Message) (time.Time, error) {
	if err := pub.Send(ctx, question); err != nil {
		return time.Time{}, err
	}
	batch, err := replies.Receive(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if len(batch.Deliveries) != 1 {
		return time.Time{}, errors.New("not one answer")
	}
	micros, err := strconv.ParseInt(string(batch.Deliveries[0].Body), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("what time is it: %w", err)
	}
	return time.UnixMicro(micros), nil
}
