package move

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestRedrive: dead letters of several reasons go back to the exchange and key that they
// came from, with their headers; those whose queue is gone stay, and so do those that
// never died and those that were redriven too often.
func TestRedrive(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		client := dial(t, b)
		ctx := t.Context()
		dead := queue(t, client, thump.QueueSpec{Kind: thump.Classic})
		dlx := thump.QueueSpec{DeadLetterExchange: "amq.direct", DeadLetterRoutingKey: dead.Name}
		if err := client.Bind(ctx, thump.Binding{Source: "amq.direct", Queue: dead.Name, RoutingKey: dead.Name}); err != nil {
			t.Fatal(err)
		}

		exchange := dead.Name + "-exchange"
		if err := client.DeclareExchange(ctx, thump.ExchangeSpec{Name: exchange, Kind: "topic"}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.DeleteExchange(context.Background(), exchange, thump.DeleteOptions{}) })
		classic, quorum, full := dlx, dlx, dlx
		classic.Kind, quorum.Kind, full.Kind, full.MaxLength = thump.Classic, thump.Quorum, thump.Classic, 1
		rejected, atLeastOnce := queue(t, client, classic), quorum
		atLeastOnce.DeadLetterStrategy, atLeastOnce.Overflow = thump.AtLeastOnce, thump.RejectPublish
		expired, overflown, gone := queue(t, client, atLeastOnce), queue(t, client, full), queue(t, client, classic)
		if err := client.Bind(ctx, thump.Binding{Source: exchange, Queue: rejected.Name, RoutingKey: "orders.*"}); err != nil {
			t.Fatal(err)
		}
		publish(t, client, thump.Exchange(exchange, "orders.new"), 5, thump.Properties{})
		publish(t, client, gone.target(""), 3, thump.Properties{})
		reject(t, client, rejected, 5)
		reject(t, client, gone, 3)
		publish(t, client, expired.target(""), 4, thump.Properties{Expiration: thump.ExpireAtOnce})
		publish(t, client, overflown.target(""), 3, thump.Properties{}) // two die
		publish(t, client, dead.target(""), 1, thump.Properties{})      // this one never did
		awaitMessages(t, client, dead, 5+3+4+2+1)
		if _, err := client.DeleteQueue(ctx, gone.Name, thump.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		receive(t, client, overflown, 1)

		redriver := NewRedriver(client, 1, false)
		groups, err := Survey(ctx, client, dead.Name, redriver, 100, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]uint64)
		for _, g := range groups {
			got[fmt.Sprintf("%s %s %v", g.Reason, strings.TrimPrefix(g.Exchange, dead.Name), g.Stays == "")] += g.Count
		}
		want := map[string]uint64{"rejected -exchange true": 5, "rejected  false": 3, "expired  true": 4, "maxlen  true": 2, "  false": 1}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the survey says %v, want %v", got, want)
		}
		awaitMessages(t, client, dead, 15)

		run := func(want Receipt) {
			t.Helper()
			receipt, err := Run(ctx, Job{
				Source: client, From: dead, Target: client, To: Place{Kind: Exchange}, Limit: 15,
				Message: func(d *thump.Delivery) (thump.Message, error) { return NewRedriver(client, 1, false).Message(ctx, d) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Taken != want.Taken || receipt.Acked != want.Acked || receipt.Left != want.Left {
				t.Errorf("%+v", receipt)
			}
		}
		run(Receipt{Taken: 15, Acked: 11, Left: 4})
		awaitMessages(t, client, dead, 5) // one of the two that overflowed died again at once
		awaitMessages(t, client, expired, 4)
		for _, d := range receive(t, client, rejected, 5) {
			if d.Exchange != exchange || d.RoutingKey != "orders.new" || d.Header("tenant") != "acme" || d.Header(HeaderRedrives) != int64(1) || d.Deaths() != nil {
				t.Errorf("it went to exchange %q with key %q, deaths %v and redrives %v", d.Exchange, d.RoutingKey, d.Deaths(), d.Header(HeaderRedrives))
			}
		}
		// What dies again was redriven as often as it may be.
		reject(t, client, expired, 4)
		awaitMessages(t, client, dead, 9)
		run(Receipt{Taken: 9, Acked: 0, Left: 9})
		awaitMessages(t, client, dead, 9)
	})
}

// publish publishes n messages.
func publish(t *testing.T, client *thump.Client, to thump.Target, n int, p thump.Properties) {
	t.Helper()
	pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: to})
	if err != nil {
		t.Fatal(err)
	}
	p.Headers = thump.NewTable("tenant", "acme")
	for range n {
		if _, err := pub.Publish(t.Context(), thump.Message{Body: []byte("dies"), Properties: &p}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// reject rejects n messages of a queue.
func reject(t *testing.T, client *thump.Client, from Place, n int) {
	t.Helper()
	con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: from.target("")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n > 0 {
		batch, err := con.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n -= len(batch.Deliveries)
		if err := batch.Reject(); err != nil {
			t.Fatal(err)
		}
	}
	if err := con.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestDeathsMove: what says how a message died moves with it, or is dropped by choice.
func TestDeathsMove(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		client := dial(t, b)
		dead := queue(t, client, thump.QueueSpec{Kind: thump.Classic})
		origin := queue(t, client, thump.QueueSpec{Kind: thump.Classic, DeadLetterRoutingKey: dead.Name})
		to := queue(t, client, thump.QueueSpec{Kind: thump.Quorum})
		publish(t, client, origin.target(""), 2, thump.Properties{})
		reject(t, client, origin, 2)
		awaitMessages(t, client, dead, 2)
		for _, drop := range [][]string{nil, DeathHeaders()} {
			receipt, err := Run(t.Context(), Job{Source: client, From: dead, Target: client, To: to, Message: Copy(drop...), Limit: 1})
			if err != nil || receipt.Acked != 1 {
				t.Fatalf("%+v, %v", receipt, err)
			}
			d := receive(t, client, to, 1)[0]
			if kept := len(d.Deaths()) == 1 && d.Deaths()[0].Queue == origin.Name && d.Header("x-first-death-reason") == "rejected"; kept != (drop == nil) {
				t.Errorf("without %v, it died like this: %+v", drop, d.Deaths())
			}
		}
	})
}
