package dump_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestLateDeliveries: a queue has nothing ready while what it has sent is still on its way.
// That is read, too, however long it takes.
func TestLateDeliveries(t *testing.T) {
	t.Parallel()
	const count = 5_000
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				near := dial(t, b)
				name := queueName(t, near, "late")
				declareQueue(t, near, thump.QueueSpec{Name: name, Kind: kind})
				next := 0
				publish(t, near, thump.Queue(name), count, func() thump.Message {
					next++
					return thump.Message{Body: fmt.Append(nil, next)}
				})
				far, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}, DialContext: brokertest.DialLate})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = far.Close(context.Background()) }()
				checkAll(t, far, name, count)
				checkAll(t, near, name, count)
			})
		}
	})
}
