package thump

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/transport"
)

// amqpConsumer is the consumeEngine of queues: a channel with one consumer on a connection
// of the client's pool, and after that is lost another.
type amqpConsumer struct {
	client    *Client
	cfg       *ConsumerConfig
	declares  *declaration // nil where the queue is somebody else's
	arguments amqpproto.Table
	recoverer recoverer

	// life ends with halt, and the coming back with it.
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	link    *consumeLink  // the last one that there was
	outage  *outage       // nil while that lives
	why     error         // why the consumer ended
	changed chan struct{} // closed when one of the three changes; nil while nobody waits for that
	ended   chan struct{}
	onEnd   func()

	// For whoever takes.
	taken     amqpconn.Deliveries // of the last batch
	watched   context.Context     // between watch and stop
	watching  *consumeLink        // the link that watches it
	stopWatch func() bool
}

// consumeLink is one connection of a consumer. What came on it is settled through it.
type consumeLink struct {
	cfg       *ConsumerConfig
	queue     string // its name
	conn      *lease
	ch        *amqpconn.Channel
	inbox     *amqpconn.Inbox
	unsettled unsettled

	missed  int  // deliveries that were not settled on the last link: the queue should have them
	emptied bool // and has nothing
}

// amqpConsumer makes a consumeEngine, which calls onEnd as that says.
func (c *Client) amqpConsumer(ctx context.Context, cfg *ConsumerConfig, onEnd func()) (consumeEngine, error) {
	if err := c.checkOpen(); err != nil {
		return nil, withPrefix(err)
	}
	con := &amqpConsumer{
		client: c, cfg: cfg, ended: make(chan struct{}), onEnd: onEnd,
		recoverer: recoverer{client: c, of: "consumer of " + cfg.From.String()},
	}
	var err error
	if con.declares, err = c.declaration("ConsumerConfig", cfg.Declare, cfg.Bind); err != nil {
		return nil, withPrefix(mistake(err))
	}
	if con.arguments, err = wireArguments(cfg.Arguments); err != nil { // read once, as all of cfg
		return nil, withPrefix(mistake(fmt.Errorf("consumer of %v: %w", cfg.From, err)))
	}
	con.life, con.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := con.open(ctx); err != nil {
		con.end()
		return nil, withPrefix(err)
	}
	con.watchLink()
	return con, nil
}

// open makes a link, and deliveries come from it from then on.
func (c *amqpConsumer) open(ctx context.Context) error {
	dial := c.client.consuming.get
	// With AutoAck nothing bounds what the broker sends, which would hold up the others; who polls
	// a stream by mistake ends the whole connection; and an exclusive queue goes with its
	// connection, which must not be later than the consumer.
	if c.cfg.AutoAck || c.cfg.Poll || c.declares != nil && c.declares.exclusive {
		dial = c.client.consuming.own
	}
	conn, err := dial(ctx, c.cfg.From.String(), c.current() != nil)
	if err != nil {
		return err
	}
	link := &consumeLink{cfg: c.cfg, queue: c.cfg.From.name, conn: conn}
	if last := c.current(); last != nil && (c.declares == nil || !c.declares.exclusive) {
		link.missed = last.unsettled.count()
	}
	link.unsettled.of, link.unsettled.send, link.unsettled.autoAck = c.cfg.From.String(), link.settle, c.cfg.AutoAck
	if err = link.consume(ctx, c.declares, c.arguments); err == nil && !c.use(link) {
		err = ErrClosed
	}
	if err != nil {
		conn.leave(ctx, link.ch)
		return fmt.Errorf("consumer of %v: %w", c.cfg.From, toPublic(err))
	}
	return nil
}

// openAgain is open, where a queue that is not there may be to be waited for, and one without
// what it should have is told of. Nothing is sent again.
func (c *amqpConsumer) openAgain(ctx context.Context) (resent int, err error) {
	if err := c.open(ctx); err != nil {
		return 0, c.mayWait(err)
	}
	if link := c.current(); link.emptied {
		c.client.tell(Event{Kind: Emptied, Of: c.recoverer.of, InFlight: link.missed})
	}
	return 0, nil
}

// mayWait makes err one that may pass, where it is that the queue is not there, and that is
// to be waited for.
func (c *amqpConsumer) mayWait(err error) error {
	if c.cfg.WaitForQueue && IsNotFound(err) {
		return later{err}
	}
	return err
}

func (l *consumeLink) consume(ctx context.Context, declares *declaration, arguments amqpproto.Table) (err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if l.ch, err = l.conn.Reserve(ctx); err != nil {
		return err
	}
	if declares != nil {
		if l.queue, err = declares.on(ctx, l.ch); err != nil {
			return err
		}
	}
	if l.missed > 0 { // before the broker sends what it has
		info, err := declareOn(ctx, l.ch, &amqpproto.QueueDeclare{Queue: l.queue, Passive: true})
		if err != nil {
			return err
		}
		l.emptied = info.Messages == 0 && info.Consumers == 0
	}
	if l.cfg.Poll {
		l.inbox, err = l.poll(ctx, declares != nil || l.missed > 0)
	} else {
		l.inbox, err = l.subscribe(ctx, arguments)
	}
	if err == nil && !l.cfg.AutoAck { // what can't be settled is not handed out
		l.inbox.DropRest()
	}
	return err
}

func (l *consumeLink) subscribe(ctx context.Context, arguments amqpproto.Table) (*amqpconn.Inbox, error) {
	prefetch := uint16(l.cfg.Prefetch)
	if l.cfg.AutoAck {
		prefetch = 0
	}
	return l.ch.Consume(ctx, prefetch, &amqpproto.BasicConsume{
		Queue: l.queue, ConsumerTag: l.cfg.Tag, NoAck: l.cfg.AutoAck,
		Exclusive: l.cfg.Exclusive, Arguments: arguments,
	})
}

// poll asks for no message yet, so whether the queue is there has to be looked at, unless that was
// done just now.
func (l *consumeLink) poll(ctx context.Context, there bool) (*amqpconn.Inbox, error) {
	if !there {
		if _, err := l.ch.Call(ctx, &amqpproto.QueueDeclare{Queue: l.queue, Passive: true}); err != nil {
			return nil, err
		}
	}
	return l.ch.Poll(l.queue, l.cfg.AutoAck)
}

// use makes the link the one to take from, unless nothing more is to be taken.
func (c *amqpConsumer) use(link *consumeLink) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return false
	}
	if c.link != nil {
		c.recoverer.reconnects.Add(1)
	}
	c.link = link
	c.change(nil)
	return true
}

// change begins or ends an outage, and wakes those who wait for that. c.mu is held.
func (c *amqpConsumer) change(out *outage) {
	c.outage = out
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// watchLink lets the consumer come back once nothing more comes from its link.
func (c *amqpConsumer) watchLink() {
	link := c.current()
	link.inbox.WhenDone(func() { c.comeBack(link) })
}

// comeBack makes another link than the one that has ended, or ends the consumer.
func (c *amqpConsumer) comeBack(link *consumeLink) {
	why := toPublic(link.inbox.Err())
	if c.cfg.Poll {
		why = c.mayWait(why) // any other consumer learns that its queue is gone when it opens the next link
	}
	if !c.recoverer.on() || c.life.Err() != nil {
		c.finish(why)
		if link.ch.Stale() != nil { // else what was handed out may still be settled
			link.conn.leave(c.life, link.ch)
		}
		return
	}
	out := newOutage(why, link.unsettled.count())
	c.mu.Lock()
	c.change(out)
	c.mu.Unlock()
	var leaving sync.WaitGroup
	defer leaving.Wait()
	leaving.Go(func() { link.conn.leave(c.life, link.ch) }) // where the channel ended alone, the broker is to answer
	if err := c.recoverer.run(c.life, out, c.openAgain); err != nil {
		c.finish(err)
		return
	}
	c.watchLink()
}

// finish ends the consumer.
func (c *amqpConsumer) finish(why error) {
	c.mu.Lock()
	c.why = why
	c.change(nil)
	c.mu.Unlock()
	close(c.ended)
	c.onEnd()
}

// current is the last link that there was.
func (c *amqpConsumer) current() *consumeLink {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

func (c *amqpConsumer) watch(ctx context.Context) (stop func() bool) {
	c.watched = ctx
	return func() bool {
		c.watching = nil
		return c.stopWatch == nil || c.stopWatch()
	}
}

// watchOn lets the end of the watched context end a taking from the link.
func (c *amqpConsumer) watchOn(link *consumeLink) {
	if c.watching == link {
		return
	}
	if c.stopWatch != nil {
		c.stopWatch()
	}
	c.watching, c.stopWatch = link, link.inbox.Watch(c.watched)
}

func (c *amqpConsumer) take(ctx context.Context, b *Batch, limit int) error {
	for {
		link := c.current()
		c.watchOn(link)
		err := link.take(ctx, &c.taken, limit)
		if err == nil {
			c.handOut(link, b)
			return nil
		}
		if link.inbox.Err() == nil { // it is ctx's
			return err
		}
		if err := c.waitForLink(ctx, link); err != nil {
			return err
		}
	}
}

// take takes at most limit of what has come. Of a consumer that polls it asks for one message
// before, and takes nothing where the queue has none.
func (l *consumeLink) take(ctx context.Context, taken *amqpconn.Deliveries, limit int) error {
	for {
		fresh := l.cfg.Poll && ctx.Err() == nil && l.ch.Ask(l.inbox)
		if err := l.inbox.Take(ctx, taken, limit); err != nil || len(taken.List) > 0 || fresh {
			return err
		}
		// An earlier take, whose ctx ended, had asked. By now the queue may have a message.
	}
}

// waitForLink waits for another link than the one that has ended. Its error is why there
// will be none, or that of ctx.
func (c *amqpConsumer) waitForLink(ctx context.Context, ended *consumeLink) error {
	for {
		c.mu.Lock()
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		link, out, why, changed := c.link, c.outage, c.why, c.changed
		c.mu.Unlock()
		switch {
		case why != nil:
			return why
		case link != ended:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return out.err(ctx.Err())
		}
	}
}

func (c *amqpConsumer) handOut(link *consumeLink, b *Batch) {
	b.Deliveries = slices.Grow(b.Deliveries, len(c.taken.List))
	for i := range c.taken.List {
		d := &c.taken.List[i]
		b.Deliveries = append(b.Deliveries, Delivery{
			Body: d.Body, Exchange: d.Exchange, RoutingKey: d.RoutingKey, Redelivered: d.Redelivered,
			tag: d.Tag, properties: d.Properties, hold: b.hold,
		})
		b.Deliveries[i].setFormat()
	}
	if !c.cfg.ReuseBuffers {
		c.taken.LetGo()
	}
	if len(b.Deliveries) == 0 {
		b.hold.from = &link.unsettled // nothing of which it settles
		return
	}
	link.unsettled.add(b, 0)
}

// settle tells the broker what becomes of deliveries. A requeue is a basic.reject,
// which since RabbitMQ 4.3 alone counts as a failed delivery.
func (l *consumeLink) settle(how settlement, multiple bool, tags ...uint64) error {
	var err error
	switch how {
	case settleAck:
		err = l.ch.Ack(multiple, tags...)
	case settleRequeue:
		err = l.ch.Reject(true, tags...)
	default:
		err = l.ch.Nack(multiple, how == settleRelease, tags...)
	}
	if err != nil {
		return stale(toPublic(err))
	}
	return nil
}

// halt ends the taking, and the coming back. What AutoAck has brought would be lost, so
// that can still be taken.
func (c *amqpConsumer) halt() {
	c.end()
	if !c.cfg.AutoAck {
		c.current().inbox.Shut(amqpconn.ErrCancelled)
	}
}

func (c *amqpConsumer) drain() { c.current().inbox.Drain() }

// stop cancels the consumer. That alone gives nothing back that has come.
func (c *amqpConsumer) stop(ctx context.Context, release bool) error {
	link := c.current()
	if link.ch.Stale() != nil {
		return nil // the broker has ended it, and taken everything back
	}
	if ctx.Err() != nil { // a Close that drops the connection says nothing before
		return ctx.Err()
	}
	if err := link.ch.Cancel(ctx, link.inbox); err != nil {
		return toPublic(err)
	}
	return link.giveBack(release)
}

func (c *amqpConsumer) release() error { return c.current().giveBack(true) }

// giveBack gives back what has come and was not taken; with all, what was handed out and is
// not settled, too.
func (l *consumeLink) giveBack(all bool) error {
	if l.cfg.AutoAck || l.ch.Stale() != nil {
		return nil // it has none, or the broker has taken them back
	}
	u := &l.unsettled
	u.mu.Lock() // nothing is settled meanwhile
	defer u.mu.Unlock()
	held := len(u.batches) > 0
	if !l.inbox.Untaken() && (!all || !held) {
		return nil
	}
	if err := l.ch.GiveBack(l.inbox, all || !held); err != nil {
		return toPublic(err)
	}
	if all {
		u.released()
	}
	return nil
}

func (c *amqpConsumer) settled(ctx context.Context) error {
	link := c.current()
	if err := link.ch.Stale(); err != nil {
		return toPublic(err)
	}
	select {
	case <-link.unsettled.settling():
		return nil
	case <-link.ch.Expired(): // nobody can settle what is left
		return toPublic(link.ch.Stale())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush asks the broker for something harmless: a channel answers its methods in
// order. While there is no link, and where that is lost meanwhile, it waits for one.
func (c *amqpConsumer) flush(ctx context.Context) error {
	if c.cfg.AutoAck {
		return nil
	}
	for {
		link := c.current()
		err := link.flush(ctx)
		switch {
		case err == nil:
			return nil
		case link.ch.Stale() == nil:
			return toPublic(err)
		case c.life.Err() != nil:
			return cmp.Or(c.failure(), toPublic(err))
		}
		if err := c.waitForLink(ctx, link); err != nil {
			return err
		}
	}
}

// failure is why the consumer has ended; nil while it has not.
func (c *amqpConsumer) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

func (l *consumeLink) flush(ctx context.Context) error {
	if err := l.ch.Stale(); err != nil {
		return err
	}
	defer l.inbox.Relax()()
	return l.ch.Qos(ctx, uint16(l.cfg.Prefetch))
}

func (c *amqpConsumer) close(ctx context.Context) {
	c.end()
	link := c.current()
	link.inbox.Shut(transport.ErrClosed)
	link.conn.leave(ctx, link.ch)
	<-c.ended
}

func (c *amqpConsumer) drop() {
	c.end()
	link := c.current()
	link.inbox.Shut(transport.ErrClosed)
	link.conn.drop(link.ch, transport.ErrClosed)
}

func (c *amqpConsumer) lost() bool { return c.current().ch.Stale() != nil }

func (c *amqpConsumer) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == nil && c.life.Err() != nil && !c.cfg.AutoAck {
		return ErrClosed
	}
	return c.why
}

func (c *amqpConsumer) reconnects() uint64 { return c.recoverer.reconnects.Load() }

// unsettled are those of the last link: what came on others is settled by nobody.
func (c *amqpConsumer) unsettled() int {
	link := c.current()
	if link.ch.Stale() != nil {
		return 0
	}
	return link.unsettled.count()
}

func (c *amqpConsumer) unknown() string {
	if c.cfg.AutoAck {
		return "deliveries that were on their way are lost (AutoAck)"
	}
	return fmt.Sprintf("%s not settled: they, and perhaps the last that were, are delivered again if the queue is still there", deliveriesWere(c.current().unsettled.count()))
}

// updateSecret has nothing to do: the pools update their connections.
func (c *amqpConsumer) updateSecret(context.Context, string, string) error { return nil }
