package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/move"
)

// envDeadLetters is of how many dead letters TestRedriveMany has of each of its five queues.
const envDeadLetters = "THUMP_TEST_DEAD_LETTERS"

// deadly is a queue that messages die in.
type deadly struct {
	name     string // without that of the run
	reason   string
	exchange string // that they come through
	spec     thump.QueueSpec
	message  thump.Properties
	kill     func(t *testing.T, client *thump.Client, queue string, n int)
}

// TestRedriveMany: dead letters of five queues, that died in each way there is, and came through
// three exchanges, one of which is gone. The dry run's table is right and takes nothing, and each
// is back in the queue that it died in, with its headers; those of the exchange that is gone stay.
func TestRedriveMany(t *testing.T) {
	t.Parallel()
	each := numberFrom(t, envDeadLetters, 60)
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) { testRedriveMany(t, b, kind, each) })
		}
	})
}

func testRedriveMany(t *testing.T, b brokertest.Broker, kind thump.QueueKind, each int) {
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	run := fmt.Sprintf("thump-redrive-%d", time.Now().UnixNano())
	dead := run + "-dead"
	declare := func(spec thump.QueueSpec) {
		t.Helper()
		if _, err := client.DeclareQueue(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = client.DeleteQueue(context.Background(), spec.Name, thump.DeleteOptions{}) })
	}
	declare(thump.QueueSpec{Name: dead, Kind: kind})
	exchange := func(name string) string {
		t.Helper()
		name = run + "-" + name
		if err := client.DeclareExchange(t.Context(), thump.ExchangeSpec{Name: name, Kind: "topic"}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.DeleteExchange(context.Background(), name, thump.DeleteOptions{}) })
		return name
	}
	orders, events, gone := exchange("orders"), exchange("events"), exchange("gone")
	queues := []deadly{ // what is to stay is before all that is acked
		{name: "old", reason: "expired", exchange: gone, spec: thump.QueueSpec{Kind: thump.Classic, MessageTTL: time.Millisecond}},
		{name: "rejected", reason: "rejected", exchange: orders, spec: thump.QueueSpec{Kind: thump.Classic}, kill: rejectAll},
		{name: "late", reason: "expired", exchange: orders, spec: thump.QueueSpec{Kind: thump.Quorum}, message: thump.Properties{Expiration: thump.ExpireAtOnce}},
		{name: "full", reason: "maxlen", exchange: events, spec: thump.QueueSpec{Kind: thump.Classic, MaxLength: 1}},
		{name: "tried", reason: "delivery_limit", exchange: events, spec: thump.QueueSpec{Kind: thump.Quorum, DeliveryLimit: 1}, kill: failAll},
	}
	number := 0
	for i, q := range queues {
		queue := run + "-" + q.name
		spec := q.spec
		spec.Name, spec.DeadLetterRoutingKey = queue, dead
		declare(spec)
		if err := client.Bind(t.Context(), thump.Binding{Source: q.exchange, Queue: queue, RoutingKey: q.name + ".*"}); err != nil {
			t.Fatal(err)
		}
		n := each
		if q.reason == "maxlen" {
			n += int(q.spec.MaxLength)
		}
		publishDying(t, client, thump.Exchange(q.exchange, q.name+".new"), &number, n, q.message)
		if q.kill != nil {
			q.kill(t, client, queue, n)
		}
		awaitMessages(t, client, dead, (i+1)*each)
	}

	// What killed them is over: each queue is there again, without what it was.
	for _, q := range queues {
		queue := run + "-" + q.name
		if _, err := client.DeleteQueue(t.Context(), queue, thump.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		declare(thump.QueueSpec{Name: queue, Kind: thump.Classic})
		if err := client.Bind(t.Context(), thump.Binding{Source: q.exchange, Queue: queue, RoutingKey: q.name + ".*"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.DeleteExchange(t.Context(), gone, thump.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	p := start(t, b.URL, "redrive", dead, "--dry-run", "--json", "-")
	if code := p.wait(); code != exitOK {
		t.Fatalf("the dry run: exit code %d\n%s", code, &p.stderr)
	}
	t.Logf("the dry run of %d took %v", len(queues)*each, time.Since(began).Round(time.Millisecond))
	checkSurvey(t, p.stdout.Bytes(), run, queues, gone, each)
	awaitMessages(t, client, dead, len(queues)*each)

	began = time.Now()
	p = start(t, b.URL, "redrive", dead)
	if code := p.waitFor(5*time.Minute + time.Duration(each*each)*10*time.Microsecond); code != exitFailed { // some were left
		t.Fatalf("exit code %d\n%s%s", code, &p.stdout, &p.stderr)
	}
	t.Logf("redriving took %v\n%s%s", time.Since(began).Round(time.Millisecond), &p.stdout, &p.stderr)
	awaitMessages(t, client, dead, each)
	for _, q := range queues {
		if q.exchange == gone {
			awaitMessages(t, client, run+"-"+q.name, 0)
			continue
		}
		checkBack(t, client, run+"-"+q.name, q, each)
	}
}

// publishDying publishes n messages, numbered by *number.
func publishDying(t *testing.T, client *thump.Client, to thump.Target, number *int, n int, p thump.Properties) {
	t.Helper()
	pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: to})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		*number++
		own := p
		own.MessageID = strconv.Itoa(*number)
		own.Headers = thump.NewTable("tenant", "acme", "number", int32(*number))
		if _, err := pub.Publish(t.Context(), thump.Message{Body: fmt.Appendf(nil, "dies %d", *number), Properties: &own}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func rejectAll(t *testing.T, client *thump.Client, queue string, n int) {
	settleAll(t, client, queue, n, (*thump.Batch).Reject)
}

// failAll gives each of n messages back until the queue has dead-lettered all of them.
func failAll(t *testing.T, client *thump.Client, queue string, n int) {
	settleAll(t, client, queue, 2*n, (*thump.Batch).Requeue) // the limit is 1
}

func settleAll(t *testing.T, client *thump.Client, queue string, n int, settle func(*thump.Batch) error) {
	t.Helper()
	con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n > 0 {
		batch, err := con.Receive(ctx)
		if err != nil {
			t.Fatalf("%d are still to come of %s: %v", n, queue, err)
		}
		n -= len(batch.Deliveries)
		if err := settle(batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := con.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// checkSurvey compares what a dry run says with what is in the queue.
func checkSurvey(t *testing.T, text []byte, run string, queues []deadly, gone string, each int) {
	t.Helper()
	var survey surveyRecord
	if err := json.Unmarshal(text, &survey); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if survey.Messages != len(queues)*each || len(survey.Groups) != len(queues) {
		t.Errorf("the dry run knows %d messages in %d groups", survey.Messages, len(survey.Groups))
	}
	for _, g := range survey.Groups {
		i := slices.IndexFunc(queues, func(q deadly) bool { return g.Queue == run+"-"+q.name })
		if i < 0 {
			t.Errorf("the dry run knows of %+v", g)
			continue
		}
		q := queues[i]
		want := move.Origin{Reason: q.reason, Queue: g.Queue, Exchange: q.exchange, Key: q.name + ".new"}
		if g.Origin != want || g.Count != uint64(each) || (g.Stays != "") != (q.exchange == gone) || time.Since(g.Oldest) > time.Hour {
			t.Errorf("the dry run says %+v, want %d of %+v", g, each, want)
		}
	}
}

// checkBack takes what came back to a queue: each message once, as it was published.
func checkBack(t *testing.T, client *thump.Client, queue string, q deadly, each int) {
	t.Helper()
	con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := make(map[int32]bool)
	for n := 0; n < each; {
		batch, err := con.Receive(ctx)
		if err != nil {
			t.Fatalf("%d of %d are back in %s: %v", n, each, queue, err)
		}
		for i := range batch.Deliveries {
			d := &batch.Deliveries[i]
			number, _ := d.Header("number").(int32)
			if seen[number] || string(d.Body) != fmt.Sprintf("dies %d", number) || d.MessageID() != fmt.Sprint(number) || d.Exchange != q.exchange || d.RoutingKey != q.name+".new" ||
				d.Header("tenant") != "acme" || d.Header(move.HeaderRedrives) != int64(1) || d.Deaths() != nil {
				t.Fatalf("in %s there is %q, seen before: %v: exchange %q, key %q, deaths %v", queue, d.Body, seen[number], d.Exchange, d.RoutingKey, d.Deaths())
			}
			seen[number] = true
		}
		n += len(batch.Deliveries)
		if err := batch.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if err := con.Close(ctx); err != nil {
		t.Fatal(err)
	}
	awaitMessages(t, client, queue, 0)
}
