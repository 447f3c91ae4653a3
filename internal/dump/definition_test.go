package dump_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/dump"
)

// TestDescribe: what a queue was declared with is found out, and nothing of it is changed.
func TestDescribe(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		client := dial(t, b)
		for i, want := range []dump.Definition{
			{Kind: thump.Classic},
			{Kind: thump.Classic, AutoDelete: true, Arguments: thump.NewTable("x-dead-letter-exchange", "")},
			{Kind: thump.Classic, Arguments: thump.NewTable(
				"x-dead-letter-exchange", "dlx", "x-dead-letter-routing-key", "it's 'none' but current is none", "x-expires", int64(3_600_000),
				"x-max-length", int64(100), "x-max-length-bytes", int64(1000), "x-max-priority", int64(5),
				"x-message-ttl", int64(60_000), "x-overflow", "reject-publish", "x-single-active-consumer", true)},
			{Kind: thump.Quorum, Arguments: thump.NewTable(
				"x-dead-letter-exchange", "amq.fanout", "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish",
				"x-delivery-limit", int64(7))},
			{Kind: dump.Stream, Arguments: thump.NewTable("x-max-length-bytes", int64(1_000_000_000))},
			{Kind: dump.Stream, Arguments: thump.NewTable("x-max-age", "86400s", "x-stream-max-segment-size-bytes", int64(1_000_000))},
		} {
			want.Name = queueName(t, client, fmt.Sprint(i))
			declareQueue(t, client, want.Spec())
			got, err := dump.Describe(t.Context(), client, want.Name)
			if err != nil || got.Partial != "" {
				t.Errorf("%+v: %v, %s", want, err, got.Partial)
			}
			if !reflect.DeepEqual(arguments(got), arguments(want)) || got.Kind != want.Kind || got.AutoDelete != want.AutoDelete || got.Transient {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		}
		if _, err := dump.Describe(t.Context(), client, "thump-no-such-queue"); !thump.IsNotFound(err) {
			t.Errorf("a queue that does not exist: %v", err)
		}
	})
}

func arguments(d dump.Definition) map[string]any {
	m := make(map[string]any)
	for _, f := range d.Arguments {
		m[f.Key] = f.Value
	}
	return m
}

// dial returns a client of the broker, whose consumers have connections of their own.
func dial(t testing.TB, b brokertest.Broker) *thump.Client {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}, MaxConnections: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

// queueName is a name for a queue or stream, which is deleted after the test.
func queueName(t testing.TB, client *thump.Client, suffix string) string {
	t.Helper()
	name := fmt.Sprintf("thump-dump-%d-%s", time.Now().UnixNano(), suffix)
	t.Cleanup(func() {
		_, _ = client.DeleteQueue(context.Background(), name, thump.DeleteOptions{})
	})
	return name
}

// declareQueue declares a queue.
func declareQueue(t testing.TB, client *thump.Client, spec thump.QueueSpec) {
	t.Helper()
	if _, err := client.DeclareQueue(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}
