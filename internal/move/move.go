package move

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
)

const (
	// prefetch is how many deliveries may be taken and not acked. Full speed needs more
	// than the publisher's window.
	prefetch = 20_000
	window   = 10_000
	// prefetchHolding is prefetch where many may have to be held.
	prefetchHolding = 65_535
	// batchMost is the most messages that the journal is synced for at a time.
	batchMost = 1000
	// room is how much of the prefetch is for what is on its way. As many as the rest may
	// stay behind before a move gives up: they are held until its end.
	room = 15_000
	// pollEvery is how often a source that delivers nothing is looked at.
	pollEvery = time.Second
	// orderlyTimeout is how long confirms are waited for after Stop.
	orderlyTimeout = 10 * time.Second
	// closeTimeout bounds the closing of a connection.
	closeTimeout = 10 * time.Second
)

// Job is what to move, and how.
type Job struct {
	// Source is where From is. For a queue its Recovery must be Off: the move itself comes
	// back after the loss of a connection, for up to GiveUp (0 for ever), unless NoRecovery
	// is set. A stream's client comes back by itself.
	Source     *thump.Client
	From       Place
	NoRecovery bool
	GiveUp     time.Duration

	Target *thump.Client
	To     Place
	// Key is the routing key where To is an exchange and KeepKeys is not set.
	Key      string
	KeepKeys bool

	// Message makes what is published of a delivery; its error says why the message stays
	// at the source. Copy is one. It is called by one goroutine at a time. What it returns
	// may share memory with the delivery.
	Message func(d *thump.Delivery) (thump.Message, error)

	// Skip, where set, says which messages are not to be moved: they are held until the end,
	// and go back. It is called before Message, by the same goroutine.
	Skip func(d *thump.Delivery) (bool, error)

	// HoldMany expects that many messages stay at the source: up to 50,535 may. By default,
	// and without Skip, up to 5,000.
	HoldMany bool

	// Limit is the most messages to take; 0 for no limit. A move ends when it has taken
	// so many; when nothing has come for Idle; or, with neither Idle nor Follow, when the
	// source has no more.
	Limit  uint64
	Idle   time.Duration
	Follow bool
	// NothingNew moves only what an earlier move with the journal has taken and not acked.
	NothingNew bool

	// Shared says that others consume from the queue, too: the newest message is not held
	// back then, since they would get it.
	Shared bool

	// Start and ConsumerName are for a stream as the source. With a name, the stream
	// remembers what was confirmed.
	Start        thump.Start
	ConsumerName string
	// PublisherName is for moves from a stream to a stream: the target knows each
	// message by its offset, and drops what it has already.
	PublisherName string

	// AnyUserID publishes messages of any user id: the target's user must have the tag
	// impersonator. By default those with another user's name stay at the source.
	AnyUserID bool
	// MaxMessageBytes is PublisherConfig's, for a target that is no stream.
	MaxMessageBytes int

	// GiveUpWhenFull ends the move when the target rejects a message. By default it is
	// published again, after a pause, until there is room.
	GiveUpWhenFull bool

	// Rate is the most messages in a second; 0 for no limit.
	Rate float64

	// Journal, where set, is what the last move with it may have left behind. It stays
	// the caller's to close.
	Journal *Journal

	// Stop, when it is closed, ends the move in order: what is confirmed is acked, and
	// the rest goes back.
	Stop <-chan struct{}
	// Progress, where set, is told how far the move is.
	Progress *Progress
}

// Progress is how far a move has come. Any goroutine may read it at any time.
type Progress struct {
	taken, confirmed, full atomic.Uint64
	pub                    atomic.Pointer[thump.Publisher]
	away                   atomic.Pointer[away]
}

// away says that a source has no connection.
type away struct {
	since time.Time
	why   error
}

// Away is since when the source has no connection, and why; why is nil while there is one.
func (p *Progress) Away() (since time.Time, why error) {
	if a := p.away.Load(); a != nil {
		return a.since, a.why
	}
	return time.Time{}, nil
}

// Taken is how many messages were taken from the source.
func (p *Progress) Taken() uint64 { return p.taken.Load() }

// Confirmed is how many the target has confirmed.
func (p *Progress) Confirmed() uint64 { return p.confirmed.Load() }

// Full is how many messages wait because the target rejected them.
func (p *Progress) Full() uint64 { return p.full.Load() }

// Blocked is the target's reason while it blocks publishing, else "".
func (p *Progress) Blocked() string {
	if pub := p.pub.Load(); pub != nil {
		return pub.Blocked()
	}
	return ""
}

// Reasons why a move ended early. The receipt has the rest.
var (
	// ErrFull is the error of a move with GiveUpWhenFull whose target is full.
	ErrFull = errors.New("the target rejected messages: it is full")
	// ErrTooManyLeft is the error of a move that most messages can't take part in.
	ErrTooManyLeft = errors.New("no more messages can be held that are not moved: they go back")
)

// errAgain ends the taking of a session because the source lost its connection: what was
// not acked comes again.
var errAgain = errors.New("the source's connection was lost")

// Run moves messages. The receipt counts them, also where there is an error. When ctx
// ends, the move ends at once: what was not acked goes back to the source.
func Run(ctx context.Context, job Job) (Receipt, error) {
	m, err := newMover(ctx, job)
	if err != nil {
		return Receipt{}, err
	}
	err = m.run(ctx)
	m.close(ctx)
	m.receipt.Acked = min(m.receipt.Acked, m.receipt.Confirmed+m.receipt.Known) // some were acked twice
	return m.receipt, err
}

// mover moves messages: two goroutines, one that takes and publishes, and one that acks
// what is confirmed.
type mover struct {
	job      Job
	journal  *Journal
	pub      *thump.Publisher
	prefetch int
	most     int  // deliveries that the queue's consumer may hold
	least    int  // messages that the queue has once all is back that the last one held
	dedupes  bool // the target drops what it has already
	byOffset bool // and knows it by its offset

	// For whoever takes.
	ids      identifier
	doubt    map[identity]int  // what may be at the target, and is not known to come again
	offsets  map[string]uint64 // by stream, of the last delivery
	resuming bool              // what comes again was counted before
	endings  int               // that had to be done again
	lostAt   time.Time         // zero while the source has a connection
	lastLoss error
	// sourceFailed says that the source can't be asked any more.
	sourceFailed bool
	begun        time.Time
	paced        float64 // messages since then

	pace pace // for the settler

	wake    chan struct{} // tells the settler that there is something to do
	settler sync.WaitGroup
	end     chan struct{} // ends the settler

	mu       sync.Mutex
	con      *thump.Consumer
	flights  []*flight // oldest first
	outcomes []thump.Outcome
	again    []rejected // rejected by a full target, to be published again
	pause    time.Duration
	due      time.Time // when
	ending   bool      // what is rejected now stays at the source
	// republishing ends the publishing of what was rejected.
	republishing    context.Context
	endRepublishing context.CancelFunc
	settling        bool // the settler is acking
	last            bool // nothing more is taken: the newest flight is settled too
	stale           bool // something could not be acked any more: it comes again
	fatal           error
	receipt         Receipt
	naming          []Double       // that the journal has not written down
	behind          []*thump.Batch // what of them is not settled goes back at the end
	changed         chan struct{}  // closed after each pass of the settler, and made anew
}

func newMover(ctx context.Context, job Job) (*mover, error) {
	m := &mover{
		job: job, journal: job.Journal, wake: make(chan struct{}, 1), end: make(chan struct{}),
		changed: make(chan struct{}), doubt: make(map[identity]int), offsets: make(map[string]uint64),
	}
	if m.job.Progress == nil {
		m.job.Progress = new(Progress)
	}
	if m.journal == nil {
		m.journal = &Journal{prefetch: prefetch, tail: tail{first: 1}}
	}
	m.prefetch = prefetch
	if job.Skip != nil || job.HoldMany {
		m.prefetch = prefetchHolding
	}
	m.journal.prefetch = m.prefetch
	m.journal.keepsNoLefts(job.From.streams())
	m.republishing, m.endRepublishing = context.WithCancel(ctx)
	cfg := thump.PublisherConfig{
		To: job.To.target(job.Key), OnOutcomes: m.hear, AnyUserID: job.AnyUserID, MaxMessageBytes: job.MaxMessageBytes,
		SameDeliveryMode: true, // as it was, also where it was none
	}
	if job.To.streams() {
		cfg.AnyUserID, cfg.SameDeliveryMode = false, false // a stream takes any, and keeps it
		cfg.MaxMessageBytes = 0                            // the frame is the limit
		cfg.Stream.Name = m.journal.Publisher()
		if cfg.Stream.Name == "" && job.From.Kind == Stream && job.PublisherName != "" {
			cfg.Stream.Name, m.byOffset = job.PublisherName, true
		}
		m.dedupes = cfg.Stream.Name != ""
	} else {
		cfg.Window = window
	}
	pub, err := job.Target.Publisher(ctx, cfg)
	if err != nil {
		return nil, err
	}
	m.pub = pub
	m.job.Progress.pub.Store(pub)
	m.settler.Go(func() { m.settle(ctx) })
	return m, nil
}

// run takes until the end. Where the source loses its connection it begins again: what
// was not acked comes again, and the journal knows what of it was confirmed.
func (m *mover) run(ctx context.Context) error {
	for {
		err := m.session(ctx)
		if !errors.Is(err, errAgain) {
			return err
		}
		if err := m.comeBack(ctx); err != nil {
			return err
		}
	}
}

// close ends the publisher and the settler.
func (m *mover) close(ctx context.Context) {
	m.job.Progress.pub.Store(nil)
	closing, cancel := context.WithTimeout(ctx, closeTimeout)
	_ = m.pub.Close(closing) // the receipt says what was not confirmed
	cancel()
	close(m.end)
	m.settler.Wait()
}

// Copy makes a message that is like the delivery, but for the headers that drop names.
func Copy(drop ...string) func(d *thump.Delivery) (thump.Message, error) {
	return func(d *thump.Delivery) (thump.Message, error) {
		p, err := d.Properties()
		if err != nil {
			return thump.Message{}, errors.New("its properties can't be read")
		}
		// A quorum queue adds these; they are no part of what was sent.
		p.Headers.Del(headerDeliveryCount)
		p.Headers.Del(headerAcquiredCount)
		for _, name := range drop {
			p.Headers.Del(name)
		}
		return thump.Message{Body: d.Body, Properties: &p}, nil
	}
}
