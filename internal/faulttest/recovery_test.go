package faulttest

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// noRecovery is for tests of how a publisher or consumer ends with its connection.
var noRecovery = thump.Recovery{Off: true}

// attempts is a dialer that notes when it was asked, and refuses while refusing is set.
type attempts struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu       sync.Mutex
	refusing bool
	at       []time.Time
}

func (a *attempts) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	a.mu.Lock()
	a.at = append(a.at, time.Now())
	refusing := a.refusing
	a.mu.Unlock()
	if refusing {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("nobody is at home")}
	}
	return a.dial(ctx, network, address)
}

// refuse sets refusing and forgets the attempts so far.
func (a *attempts) refuse(refusing bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusing, a.at = refusing, nil
}

// since returns when it was asked, as times since start.
func (a *attempts) since(start time.Time) []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []time.Duration
	for _, at := range a.at {
		list = append(list, at.Sub(start))
	}
	return list
}

// eventList collects events.
type eventList struct {
	mu   sync.Mutex
	list []thump.Event
}

func (l *eventList) add(e thump.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

// kinds lists them, as "disconnected recovered".
func (l *eventList) kinds() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kinds []string
	for _, e := range l.list {
		kinds = append(kinds, e.Kind.String())
	}
	return strings.Join(kinds, " ")
}

// hangUp is a publisher's connection that the broker closes when told to.
func hangUp(now <-chan struct{}) func(*fakebroker.Session) {
	return func(s *fakebroker.Session) {
		s.Login()
		s.OpenPublisher()
		<-now
	}
}

// dialPublisher makes a client and its publisher.
func dialPublisher(t *testing.T, cfg thump.Config, to thump.PublisherConfig) (*thump.Client, *thump.Publisher) {
	t.Helper()
	client, err := thump.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := client.Publisher(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	return client, p
}

// TestFaultBackoff: the first attempt comes at once, and the pauses after it grow to at
// most half a second.
func TestFaultBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan struct{})
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, hangUp(now), serveAMQP)
		a := &attempts{dial: b.DialContext}
		var events eventList
		client, p := dialPublisher(t, thump.Config{URLs: []string{b.URL()}, DialContext: a.DialContext, OnEvent: events.add}, thump.PublisherConfig{To: thump.Queue("q")})
		a.refuse(true)
		start := time.Now()
		close(now)
		time.Sleep(time.Minute)
		tries := a.since(start)
		if len(tries) < 60*2 || len(tries) > 60*4+6 || tries[0] > time.Millisecond {
			t.Errorf("%d attempts in a minute, the first after %v", len(tries), tries[0])
		}
		for i := range tries[1:] {
			longest := min(50*time.Millisecond<<i, 500*time.Millisecond)
			if i > 10 {
				longest = 500 * time.Millisecond
			}
			if pause := tries[i+1] - tries[i]; pause < longest/2-time.Millisecond || pause > longest+time.Millisecond {
				t.Fatalf("pause %d is %v, expected up to %v and at least half of that", i, pause, longest)
			}
		}
		a.refuse(false)
		if err := p.Send(t.Context(), thump.Message{Body: []byte("m")}); err != nil {
			t.Error(err)
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := events.kinds(); got != "disconnected recovered" {
			t.Errorf("events: %s", got)
		}
	})
}

// TestFaultBackoffAnew: once a broker that nobody could reach listens again, the pauses begin
// anew, because it serves after another moment; whether or not other nodes are away.
func TestFaultBackoffAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan struct{})
		starting := func(*fakebroker.Session) {} // it closes the connection
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, hangUp(now), starting, starting, starting, serveAMQP)
		a := &attempts{dial: b.DialContext}
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "away:5672" { // another node, which stays away
				return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("nobody is at home")}
			}
			return a.DialContext(ctx, network, address)
		}
		client, p := dialPublisher(t, thump.Config{URLs: []string{b.URL(), "amqp://away"}, DialContext: dial}, thump.PublisherConfig{To: thump.Queue("q")})
		a.refuse(true)
		close(now)
		time.Sleep(time.Minute)
		a.refuse(false)
		start := time.Now()
		if err := p.Send(t.Context(), thump.Message{Body: []byte("m")}); err != nil {
			t.Error(err)
		}
		tries := a.since(start)
		if len(tries) != 4 {
			t.Fatalf("attempts %v, expected 4", tries)
		}
		for i := range tries[1:] {
			longest := 50 * time.Millisecond << i
			if pause := tries[i+1] - tries[i]; pause < longest/2-time.Millisecond || pause > longest+time.Millisecond {
				t.Errorf("pause %d is %v, expected up to %v and at least half of that", i, pause, longest)
			}
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultFlapping: connections that are lost as soon as they are there do not make a loop
// without pauses.
func TestFaultFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		briefly := func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			time.Sleep(time.Millisecond)
		}
		scripts := []func(*fakebroker.Session){serveAMQP}
		for range 30 {
			scripts = append(scripts, briefly)
		}
		b := fakebroker.Pipe(t, 64<<10, append(scripts, serveAMQP)...)
		client, p := dialPublisher(t, thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext}, thump.PublisherConfig{To: thump.Queue("q")})
		start := time.Now()
		if err := p.Send(t.Context(), thump.Message{Body: []byte("m")}); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 4*time.Second || took > 15*time.Second {
			t.Errorf("some thirty connections took %v", took)
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultSlowEventCallback: a callback that does not return holds up no recovery.
func TestFaultSlowEventCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, hold := make(chan struct{}), make(chan struct{})
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, hangUp(now), serveAMQP)
		var called eventList
		client, p := dialPublisher(t, thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, OnEvent: func(e thump.Event) {
			<-hold
			called.add(e)
		}}, thump.PublisherConfig{To: thump.Queue("q")})
		close(now)
		if err := p.Send(t.Context(), thump.Message{Body: []byte("m")}); err != nil {
			t.Error(err)
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		close(hold)
		synctest.Wait()
		if got := called.kinds(); got != "disconnected recovered" {
			t.Errorf("events: %s", got)
		}
	})
}

// TestFaultRefusedForGood: a broker that refuses the login after the loss ends the
// publisher, with the reason of both.
func TestFaultRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan struct{})
		refuse := func(s *fakebroker.Session) {
			s.ExpectProtocolHeader()
			s.Send(0, fakebroker.Likely().Start())
			fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 403, ReplyText: "ACCESS_REFUSED - no"})
			s.Discard()
		}
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, hangUp(now), refuse)
		var events eventList
		client, p := dialPublisher(t, thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, OnEvent: events.add}, thump.PublisherConfig{To: thump.Queue("q")})
		close(now)
		<-p.Done()
		for _, part := range []string{"ACCESS_REFUSED", "before that: "} {
			if !strings.Contains(p.Err().Error(), part) {
				t.Errorf("the error does not say %q: %v", part, p.Err())
			}
		}
		if broker, ok := errors.AsType[*thump.BrokerError](p.Err()); !ok || broker.Code != 403 || thump.Temporary(p.Err()) {
			t.Errorf("temporary: %t; got %v", thump.Temporary(p.Err()), p.Err())
		}
		_ = client.Close(t.Context())
		synctest.Wait()
		if got := events.kinds(); got != "disconnected gave up" {
			t.Errorf("events: %s", got)
		}
	})
}

// TestFaultSentAgainInOrder: what has no outcome when the connection is lost is sent again
// in order, before what is new, and its outcome says so; what was confirmed is not.
func TestFaultSentAgainInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := func(s *fakebroker.Session) {
			s.Login()
			channel := s.OpenPublisher()
			for range 6 {
				fakebroker.Expect[*amqpproto.BasicPublish](s)
			}
			s.Send(channel, &amqpproto.BasicAck{DeliveryTag: 2})
			s.Send(channel, &amqpproto.BasicAck{DeliveryTag: 5})
			time.Sleep(time.Second)
		}
		var came []string
		second := func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			s.Serve(func(r *fakebroker.Received) bool {
				if _, ok := r.Method.(*amqpproto.BasicPublish); ok {
					came = append(came, string(r.Body))
				}
				return false
			})
		}
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, first, second)
		client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		resent := map[uint64]bool{}
		p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q"), OnOutcomes: func(list []thump.Outcome) {
			for _, o := range list {
				resent[o.Ref] = o.Resent
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		body := strings.Split("one two three four five six seven eight", " ")
		for i := range 6 {
			if _, err := p.Publish(t.Context(), thump.Message{Ref: uint64(i), Body: []byte(body[i])}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		for i := 6; i < 8; i++ {
			if _, err := p.Publish(t.Context(), thump.Message{Ref: uint64(i), Body: []byte(body[i])}); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if want := strings.Split("one three four six seven eight", " "); !slices.Equal(came, want) {
			t.Errorf("the second connection brought %q, expected %q", came, want)
		}
		for i := range 8 {
			if got, want := resent[uint64(i)], slices.Contains([]int{0, 2, 3, 5}, i); got != want {
				t.Errorf("message %s: Resent is %v", body[i], got)
			}
		}
	})
}

// TestFaultBlockedIsTold: events tell that the broker blocks a connection, why, and that it
// does so no more.
func TestFaultBlockedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
			s.Send(0, &amqpproto.ConnectionUnblocked{})
			s.Serve(nil)
		})
		var called eventList
		client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, OnEvent: called.add})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := called.kinds(); got != "blocked unblocked" {
			t.Fatalf("events: %s", got)
		}
		if e := called.list[0]; !strings.HasPrefix(e.Of, "connection to ") || !strings.HasSuffix(e.Of, ` for queue "q"`) || e.Err == nil || e.Err.Error() != "low on memory" {
			t.Errorf("got %+v", e)
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultBlockedUntilTheEnd: a connection that ends while it is blocked is no longer blocked,
// whether it is lost or closed, and whoever counts blocked connections is told so.
func TestFaultBlockedUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
		}
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, func(s *fakebroker.Session) {
			blocked(s)
			time.Sleep(time.Second) // and the connection is lost
		}, func(s *fakebroker.Session) {
			blocked(s)
			s.Serve(nil)
		})
		var called eventList
		client, p := dialPublisher(t, thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, OnEvent: called.add}, thump.PublisherConfig{To: thump.Queue("q")})
		time.Sleep(time.Minute)
		if reason := p.Blocked(); reason != "low on memory" {
			t.Errorf("blocked: %q", reason)
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if p.Blocked() != "" {
			t.Errorf("still blocked: %q", p.Blocked())
		}
		got := strings.Fields(called.kinds())
		slices.Sort(got)
		if want := strings.Fields("blocked blocked disconnected recovered unblocked unblocked"); !slices.Equal(got, want) {
			t.Errorf("events: %s", called.kinds())
		}
	})
}

// TestFaultFlappingGivesUp: a broker that takes each connection and closes it at once does
// not make the limit begin anew each time.
func TestFaultFlappingGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		briefly := func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			time.Sleep(time.Millisecond)
		}
		b := fakebroker.Pipe(t, 64<<10, append([]func(*fakebroker.Session){serveAMQP}, slices.Repeat([]func(*fakebroker.Session){briefly}, 200)...)...)
		client, p := dialPublisher(t, thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, Recovery: thump.Recovery{GiveUp: 10 * time.Second}}, thump.PublisherConfig{To: thump.Queue("q")})
		start := time.Now()
		<-p.Done()
		if took := time.Since(start); took < 9*time.Second || took > 12*time.Second || !strings.Contains(p.Err().Error(), "given up after 10s") {
			t.Errorf("after %v: %v", took, p.Err())
		}
		_ = client.Close(t.Context())
	})
}

// TestFaultRefusedForAWhile: with Config.Credentials a login that is refused is tried again,
// since the next answer may be another.
func TestFaultRefusedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan struct{})
		refuse := func(s *fakebroker.Session) {
			s.ExpectProtocolHeader()
			s.Send(0, fakebroker.Likely().Start())
			fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 403, ReplyText: "ACCESS_REFUSED - not yet"})
			s.Discard()
		}
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, hangUp(now), refuse, refuse, refuse, serveAMQP)
		asked := 0
		client, p := dialPublisher(t, thump.Config{
			URLs: []string{b.URL()}, DialContext: b.DialContext,
			Credentials: func(context.Context) (user, secret string, expires time.Time, err error) {
				asked++
				return "user", "secret", time.Time{}, nil
			},
		}, thump.PublisherConfig{To: thump.Queue("q")})
		close(now)
		if err := p.Send(t.Context(), thump.Message{Body: []byte("m")}); err != nil {
			t.Error(err)
		}
		if asked != 6 {
			t.Errorf("it was asked %d times", asked)
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// serveChannels is an orderly broker that counts the channels of its connection.
func serveChannels(mu *sync.Mutex, counts *[]int) func(*fakebroker.Session) {
	return func(s *fakebroker.Session) {
		mu.Lock()
		mine := len(*counts)
		*counts = append(*counts, 0)
		mu.Unlock()
		s.Login()
		s.Serve(func(r *fakebroker.Received) bool {
			if _, ok := r.Method.(*amqpproto.ChannelOpen); ok {
				mu.Lock()
				defer mu.Unlock()
				(*counts)[mine]++
			}
			return false
		})
	}
}

// TestFaultSharesStayEven: those who share connections are spread over them evenly, also
// after all of them were lost, however long each takes to be made.
func TestFaultSharesStayEven(t *testing.T) {
	const most, each = 4, 10
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var counts []int
		b := fakebroker.Pipe(t, 64<<10, append([]func(*fakebroker.Session){serveAMQP}, slices.Repeat([]func(*fakebroker.Session){serveChannels(&mu, &counts)}, 2*most)...)...)
		var conns []net.Conn
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			takes := time.Duration(len(conns)) * 3 * time.Millisecond
			mu.Unlock()
			time.Sleep(takes)
			conn, err := b.DialContext(ctx, network, address)
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, conn)
			return conn, err
		}
		client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: dial, MaxConnections: most})
		if err != nil {
			t.Fatal(err)
		}
		for range most * each {
			if _, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")}); err != nil {
				t.Fatal(err)
			}
		}
		for _, conn := range conns[1:] {
			_ = conn.Close()
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		for i, n := range counts {
			if n != each || len(counts) != 2*most {
				t.Errorf("connection %d of %d has %d channels, expected %d", i+1, len(counts), n, each)
			}
		}
		mu.Unlock()
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultManyComeBack: many that share a connection try the broker about as often as one.
func TestFaultManyComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, func(s *fakebroker.Session) {
			time.AfterFunc(time.Second, s.Close)
			s.Login()
			s.Serve(nil)
		}, serveAMQP)
		a := &attempts{dial: b.DialContext}
		client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: a.DialContext, MaxConnections: 1})
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if _, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")}); err != nil {
				t.Fatal(err)
			}
		}
		a.refuse(true)
		time.Sleep(11 * time.Second)
		if n := len(a.since(time.Now())); n < 20 || n > 450 {
			t.Errorf("the broker was tried %d times in ten seconds", n)
		}
		a.refuse(false)
		time.Sleep(5 * time.Second)
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultBlockedWhileSendingAgain: a broker that blocks the connection that is to send
// again is there: that is no outage, and no limit ends it.
func TestFaultBlockedWhileSendingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan struct{})
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, hangUp(now), func(s *fakebroker.Session) {
			s.Login()
			s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
			time.AfterFunc(100*time.Second, func() { s.Offer(fakebroker.Frame(0, &amqpproto.ConnectionUnblocked{})) })
			s.Serve(nil)
		})
		a := &attempts{dial: b.DialContext}
		client, p := dialPublisher(t, thump.Config{
			URLs: []string{b.URL()}, DialContext: a.DialContext, Heartbeat: time.Hour, Recovery: thump.Recovery{GiveUp: time.Minute},
		}, thump.PublisherConfig{To: thump.Queue("q")})
		a.refuse(true)
		close(now)
		time.Sleep(time.Second)
		if _, err := p.Publish(t.Context(), thump.Message{}); err != nil {
			t.Error(err)
		}
		a.refuse(false)
		time.Sleep(80 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Flush(ctx); p.Blocked() != "low on memory" || err == nil || !strings.Contains(err.Error(), "the broker blocks publishing (low on memory)") {
			t.Errorf("blocked %q: %v", p.Blocked(), err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		_ = client.Close(t.Context())
	})
}

// TestFaultResendNeverOnce: what a connection has carried is not sent on another one, also
// where it was lost before all of it was on its way.
func TestFaultResendNeverOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan struct{})
		var mu sync.Mutex
		came := map[byte]int{}
		take := func(n int) func(*fakebroker.Session) {
			return func(s *fakebroker.Session) {
				s.Login()
				s.Serve(func(r *fakebroker.Received) bool {
					if _, ok := r.Method.(*amqpproto.BasicPublish); ok {
						mu.Lock()
						came[r.Body[0]]++
						mu.Unlock()
						if n--; n == 0 {
							s.Close()
						}
						return n >= 0 // not confirmed
					}
					return false
				})
			}
		}
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, hangUp(now), take(3), take(-1))
		a := &attempts{dial: b.DialContext}
		client, p := dialPublisher(t, thump.Config{URLs: []string{b.URL()}, DialContext: a.DialContext}, thump.PublisherConfig{To: thump.Queue("q"), Resend: thump.ResendNever})
		a.refuse(true)
		close(now)
		time.Sleep(time.Second)
		for body := byte('a'); body <= 'h'; body++ {
			if _, err := p.Publish(t.Context(), thump.Message{Body: slices.Repeat([]byte{body}, 700<<10)}); err != nil {
				t.Fatal(err)
			}
		}
		a.refuse(false)
		_ = client.Close(t.Context())
		mu.Lock()
		defer mu.Unlock()
		for body := byte('a'); body <= 'h'; body++ {
			if came[body] > 1 {
				t.Errorf("%c came %d times", body, came[body])
			}
		}
		if n := p.Counts(); n.Resent != 0 || n.InFlight != 0 || n.Unknown == 0 || n.Published != 8 {
			t.Errorf("%+v", n)
		}
	})
}

// TestFaultLostWhileFlushing: a consumer that loses its connection during a Flush flushes on
// the next one.
func TestFaultLostWhileFlushing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flushing := func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			faultDeliver(s, 1, 1)
			fakebroker.Expect[*amqpproto.BasicAck](s)
			fakebroker.Expect[*amqpproto.BasicQos](s) // and it hangs up
		}
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, flushing, serveAMQP)
		client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q")})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := con.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.Ack(); err != nil {
			t.Error(err)
		}
		if err := con.Flush(t.Context()); err != nil {
			t.Error("flush:", err)
		}
		if got := con.Stats().Reconnects; got != 1 {
			t.Errorf("it has come back %d times, expected once", got)
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
