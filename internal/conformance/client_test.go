package conformance

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// What the client does as a whole, whatever the kind of queue: against every
// broker, with a classic queue.

// eachRig runs test against every broker.
func eachRig(t *testing.T, test func(*rig)) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		r := newRig(t, b, engines()[0])
		defer r.deleteUsers()
		test(r)
	})
}

// manage asks the broker's management API, and returns what it answers.
func (r *rig) manage(method, path string, body any) []byte {
	r.Helper()
	return brokertest.Manage(r.T, r.broker.ManagementURL, method, path, body)
}

// user makes a user with a password and those permissions on the vhost /, and
// returns the URL to log in as that user.
func (r *rig) user(name, password, permissions string) string {
	r.Helper()
	r.users = append(r.users, name)
	r.password(name, password)
	if permissions != "" {
		r.manage("PUT", "permissions/%2F/"+name, map[string]string{"configure": permissions, "write": permissions, "read": permissions})
	}
	return r.as(name, password)
}

// deleteUsers takes away what user has made.
func (r *rig) deleteUsers() {
	for _, name := range r.users {
		r.manage("DELETE", "users/"+name, nil)
	}
}

// password sets a user's password, and makes the user where there is none.
func (r *rig) password(name, password string) {
	r.Helper()
	r.manage("PUT", "users/"+name, map[string]string{"password": password, "tags": ""})
}

// as is the broker's URL with another user and password.
func (r *rig) as(user, password string) string {
	r.Helper()
	u, err := url.Parse(r.broker.URL)
	r.noError(err)
	u.User = url.UserPassword(user, password)
	return u.String()
}

func TestServer(t *testing.T) {
	eachRig(t, func(r *rig) {
		server := r.client.Server()
		u, _ := url.Parse(r.broker.URL)
		if server.Product != "RabbitMQ" || server.Version != r.broker.Version || server.Address != u.Host || server.Cluster == "" {
			r.Errorf("got %+v, expected RabbitMQ %s at %s", server, r.broker.Version, u.Host)
		}
	})
}

func TestClientClose(t *testing.T) {
	eachRig(t, func(r *rig) {
		queue := r.queue()
		client := r.dial(thump.Config{URLs: []string{r.broker.URL}})
		ctx := r.Context()
		var publishers []*thump.Publisher
		var consumers []*thump.Consumer
		for range 3 {
			p, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue)})
			r.noError(err)
			c, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue(queue), Prefetch: 1})
			r.noError(err)
			publishers, consumers = append(publishers, p), append(consumers, c)
			r.publish(p, numbered(100)...)
		}
		r.noError(client.Close(ctx))
		for i := range publishers {
			<-publishers[i].Done()
			<-consumers[i].Done()
			if got := publishers[i].Counts(); got.Confirmed != 100 { // it was flushed
				r.Errorf("publisher %d: %+v, expected 100 confirmed", i, got)
			}
			if !errors.Is(publishers[i].Err(), thump.ErrClosed) || !errors.Is(consumers[i].Err(), thump.ErrClosed) {
				r.Errorf("publisher and consumer ended with %v and %v, expected ErrClosed", publishers[i].Err(), consumers[i].Err())
			}
		}
		_, publisher := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue)})
		_, consumer := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue(queue)})
		_, topology := client.InspectQueue(ctx, queue)
		for what, err := range map[string]error{"Publisher": publisher, "Consumer": consumer, "InspectQueue": topology} {
			if !errors.Is(err, thump.ErrClosed) {
				r.Errorf("%s after Close: %v, expected ErrClosed", what, err)
			}
		}
		r.noError(client.Close(ctx))
		r.eventually(queue, 300)
	})
}

func TestUpdateSecret(t *testing.T) {
	eachRig(t, func(r *rig) {
		name, queue := unique("user"), r.queue()
		client := r.dial(thump.Config{URLs: []string{r.user(name, "the first", ".*")}})
		ctx := r.Context()
		p, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue)})
		r.noError(err)
		c, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue(queue)})
		r.noError(err)
		r.publish(p, numbered(1)...)
		r.flush(p)
		r.password(name, "the second")
		_, err = client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue(queue)})
		r.brokerError(err, 403) // still with the first
		r.noError(client.UpdateSecret(ctx, "the second", "rotation"))
		r.publish(p, numbered(1)...)
		r.flush(p)
		p, err = client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue)}) // a new connection
		r.noError(err)
		r.publish(p, numbered(1)...)
		r.flush(p)
		r.receive(c, 3, (*thump.Batch).Ack)
		r.noError(client.Close(ctx))
	})
}

// TestForcedClose has an operator close the connections while messages are in
// flight.
func TestForcedClose(t *testing.T) {
	eachRig(t, func(r *rig) {
		name, queue, slow := unique("user"), r.queue(), r.queue()
		client := r.dial(thump.Config{URLs: []string{r.user(name, "secret", ".*")}, Recovery: thump.Recovery{Off: true}})
		ctx := r.Context()
		r.send(slow, numbered(5)...)
		c, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue(slow)})
		r.noError(err)
		r.receive(c, 5, nil)
		l := newLedger()
		p, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue), OnOutcomes: l.note})
		r.noError(err)
		ended := make(chan error, 1)
		go func() {
			var err error
			for ref := uint64(1); err == nil; ref++ {
				_, err = p.Publish(ctx, thump.Message{Ref: ref, Body: []byte("in flight")})
				time.Sleep(time.Millisecond) // what a broker has not read when it closes makes that a reset
			}
			ended <- err
		}()
		for p.Counts().Confirmed < 100 {
			time.Sleep(time.Millisecond)
		}
		r.manage("DELETE", "connections/username/"+name, nil)
		err = <-ended
		r.notSent(err)
		r.brokerError(err, 320)
		err = p.Close(ctx)
		e := r.outcomeError(err)
		inFlight := "no message in flight" // it may have ended between two messages
		if e.Unknown > 0 {
			inFlight = fmt.Sprint(e.Unknown, " unknown")
		}
		r.says(err, queue, "CONNECTION_FORCED", inFlight)
		got := p.Counts()
		if got.InFlight != 0 || got.Bad() != got.Unknown || got.Confirmed+got.Unknown != got.Published || e.Unknown != got.Unknown {
			r.Errorf("got %+v and %+v, expected what is not confirmed to be unknown", got, e)
		}
		l.check(r, int(got.Published), func(ref uint64) thump.Status { return l.outcomes[ref][0].Status })
		_, err = c.Receive(ctx)
		r.brokerError(err, 320)
		r.says(err, "5 deliveries were not settled")
		// The client dials anew for what comes next, once its own connection is closed too.
		_, err = client.InspectQueue(ctx, queue)
		for try := 0; err != nil && try < 20; try++ {
			time.Sleep(50 * time.Millisecond)
			_, err = client.InspectQueue(ctx, queue)
		}
		if err != nil {
			r.Errorf("after the connections were closed: %v", err)
		}
	})
}

func TestVhostDeleted(t *testing.T) {
	eachRig(t, func(r *rig) {
		vhost := unique("größe /%2F?#")
		path := "vhosts/" + url.PathEscape(vhost)
		r.manage("PUT", path, map[string]string{})
		admin, _ := url.Parse(r.broker.URL)
		everything := map[string]string{"configure": ".*", "write": ".*", "read": ".*"}
		r.manage("PUT", "permissions/"+url.PathEscape(vhost)+"/"+admin.User.Username(), everything)
		client := r.dial(thump.Config{URLs: []string{strings.TrimSuffix(r.broker.URL, "/") + "/" + url.PathEscape(vhost)}})
		ctx := r.Context()
		_, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: "queue"})
		r.noError(err)
		p, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue("queue")})
		r.noError(err)
		c, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue("queue")})
		r.noError(err)
		r.publish(p, numbered(1)...)
		r.flush(p)
		r.receive(c, 1, (*thump.Batch).Ack)
		r.manage("DELETE", path, nil)
		<-p.Done()
		r.brokerError(p.Flush(ctx), 530) // there is nothing to come back to
		for err == nil {                 // deleting the queue may cancel the consumer first
			_, err = c.Receive(ctx)
		}
		r.says(err, "queue")
		_, err = client.InspectQueue(ctx, "queue")
		r.says(err, vhost)
	})
}

// TestUserID has the broker check who a message says it is from.
func TestUserID(t *testing.T) {
	eachRig(t, func(r *rig) {
		queue, u := r.queue(), r.broker.URL
		parsed, _ := url.Parse(u)
		own := thump.Message{Properties: &thump.Properties{UserID: parsed.User.Username()}}
		r.send(queue, own)
		got, err := r.take(queue, 1)[0].Properties()
		r.noError(err)
		if got.UserID != own.Properties.UserID {
			r.Errorf("got user id %q, expected %q", got.UserID, own.Properties.UserID)
		}
		other := thump.Message{Properties: &thump.Properties{UserID: "somebody else"}}
		p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue)})
		_, err = p.Publish(r.Context(), other)
		r.says(err, "UserID", "somebody else", own.Properties.UserID)
		r.noError(p.Close(r.Context()))
		p = r.publisher(thump.PublisherConfig{To: thump.Queue(queue), AnyUserID: true})
		r.publish(p, other)
		r.brokerError(p.Flush(r.Context()), 406)
	})
}

func TestConnectionLimit(t *testing.T) {
	eachRig(t, func(r *rig) {
		name := unique("user")
		u := r.user(name, "secret", ".*")
		if output, err := r.broker.Node(r.T).Ctl(r.Context(), "set_user_limits", name, `{"max-connections":1}`); err != nil {
			r.Fatalf("%v: %s", err, output)
		}
		client := r.dial(thump.Config{URLs: []string{u}})
		_, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Queue("any")})
		r.brokerError(err, 530)
		r.says(err, "limit (1)")
	})
}

// TestMemoryAlarm blocks publishers of a node that nobody else uses.
func TestMemoryAlarm(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		node := b.Private(t, broker.Options{})
		b.URL, b.StreamURL = node.URL, node.StreamURL
		r := newRig(t, b, engines()[0])
		ctl := func(arguments ...string) {
			r.Helper()
			if output, err := node.Ctl(r.Context(), arguments...); err != nil {
				r.Fatalf("rabbitmqctl %v: %v: %s", arguments, err, output)
			}
		}
		queue := r.queue()
		// With a heartbeat this short, a connection that could not bear being
		// blocked would be dead by the end.
		client := r.dial(thump.Config{URLs: []string{node.URL + "?heartbeat=1"}})
		open := func() *thump.Publisher {
			p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
			r.noError(err)
			return p
		}
		p, doomed := open(), open()
		c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), Prefetch: 1})
		r.noError(err)
		r.publish(p, numbered(10)...)
		r.flush(p)
		ctl("set_vm_memory_high_watermark", "0.00001")
		untilBlocked(r, p)
		untilBlocked(r, doomed)
		for _, b := range []*thump.Publisher{p, doomed} {
			n, err := b.Publish(r.within(200*time.Millisecond), numbered(1)...)
			if n != 0 {
				r.Errorf("a blocked publisher accepted %d messages", n)
			}
			r.says(err, "deadline")
		}
		r.receive(c, 10, (*thump.Batch).Ack) // consuming goes on
		// Closing does not wait for the alarm to end.
		start := time.Now()
		e := r.outcomeError(doomed.Close(r.within(500 * time.Millisecond)))
		if e.Unknown == 0 || time.Since(start) > 10*time.Second {
			r.Errorf("closing a blocked publisher took %v: %v", time.Since(start), e)
		}
		time.Sleep(4 * time.Second)
		resumed := make(chan error, 1)
		ctx := r.Context()
		go func() {
			_, err := p.Publish(ctx, numbered(5)...)
			resumed <- err
		}()
		ctl("set_vm_memory_high_watermark", "0.6")
		r.noError(<-resumed)
		r.flush(p)
		if p.Blocked() != "" {
			r.Errorf("still blocked: %s", p.Blocked())
		}
		if got := p.Counts(); got.Confirmed != got.Published {
			r.Errorf("got %+v, expected all to be confirmed", got)
		}
	})
}

// untilBlocked publishes until the broker blocks the publisher, which it does
// only to those who publish.
func untilBlocked(r *rig, p *thump.Publisher) {
	r.Helper()
	for start := time.Now(); p.Blocked() == ""; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			r.Fatal("an alarm is set and the publisher is not blocked")
		}
		_, _ = p.Publish(r.within(100*time.Millisecond), numbered(1)...)
	}
	if !strings.Contains(p.Blocked(), "memory") {
		r.Errorf("blocked because of %q, expected the memory", p.Blocked())
	}
}
