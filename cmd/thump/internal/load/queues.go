package load

import (
	"fmt"
	"slices"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Queues are several queues. Each message goes to one of them in turn, or where an exchange leads
// it. The consumers are spread over them.
type Queues struct {
	Queue  // how to publish and consume; its name stands for all
	Names  []string
	Routes *Routes // nil for the default exchange, which leads to one queue after another
}

// Target is the exchange that messages go through, as package thump names it.
func (q Queues) Target() thump.Target {
	if q.Routes != nil {
		return thump.Exchange(q.Routes.Exchange, "")
	}
	return thump.Exchange("", "")
}

// String is "queues" and what stands for their names.
func (q Queues) String() string {
	if len(q.Names) == 1 {
		return q.Queue.String()
	}
	return fmt.Sprintf("%d queues %s", len(q.Names), q.Name)
}

// Readers is how many copies there are of each message: each of them goes to one consumer.
func (q Queues) Readers(int) int {
	if q.Routes != nil {
		return q.Routes.Copies()
	}
	return 1
}

// reader: each queue has the same copy of all its messages.
func (q Queues) reader(consumer int) int {
	if q.Routes != nil {
		return q.Routes.copyOf[consumer%len(q.Names)]
	}
	return 0
}

func (q Queues) publisher(int, int) thump.PublisherConfig {
	return thump.PublisherConfig{To: q.Target(), NoConfirms: q.NoConfirms}
}

func (q Queues) routingKeys() Keys {
	if q.Routes != nil {
		return q.Routes.Keys
	}
	return Keys{Keys: q.Names}
}

func (q Queues) consumer(i, of int) thump.ConsumerConfig {
	cfg := q.Queue.consumer(i, of)
	cfg.From = thump.Queue(q.Names[i%len(q.Names)])
	return cfg
}

func (q Queues) source(client *thump.Client) source {
	names := q.Names
	if q.Expired != "" {
		names = append(slices.Clone(names), q.Expired)
	}
	return &queueSource{place: q, names: names, client: client}
}

func (q Queues) receiving(s *result.Settings) {
	q.Queue.receiving(s)
	s.Queues = len(q.Names)
}

func (q Queues) sending(s *result.Settings) {
	q.Queue.sending(s)
	s.Queues = len(q.Names)
	if q.Routes != nil {
		q.Routes.describe(s)
	}
}
