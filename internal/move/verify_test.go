package move

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestReadyOfABusyQueue: a queue that says that it has none, while it is to have some, is asked
// again, and not for ever; where it says how many it has, and somebody has taken some, not for long.
func TestReadyOfABusyQueue(t *testing.T) {
	for name, test := range map[string]struct {
		says []uint32
		want int
		most time.Duration
	}{
		"busy at first":        {[]uint32{0, 0, 5}, 5, time.Second},
		"busy for long":        {append(make([]uint32, 100), 5), 5, returnPatience},
		"all there at once":    {[]uint32{3}, 3, 0},
		"one after another":    {slices.Concat([]uint32{0}, slices.Repeat([]uint32{1}, 15), slices.Repeat([]uint32{2}, 15), []uint32{3}), 3, 2 * fewerPatience},
		"somebody has taken 2": {[]uint32{1}, 1, fewerPatience + time.Second},
		"somebody has them":    {[]uint32{0}, 0, returnPatience + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				b := fakebroker.Pipe(t, 64<<10, func(s *fakebroker.Session) {
					s.Login()
					s.Serve(func(r *fakebroker.Received) bool {
						if _, ok := r.Method.(*amqpproto.QueueDeclare); !ok {
							return false
						}
						s.Send(r.Channel, &amqpproto.QueueDeclareOk{Queue: "q", MessageCount: test.says[min(asked, len(test.says)-1)]})
						asked++
						return true
					})
				})
				client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = client.Close(context.Background()) }()
				m := &mover{job: Job{Source: client, From: Place{Name: "q"}}}
				begin := time.Now()
				if got, err := m.ready(t.Context(), 3); got != test.want || err != nil {
					t.Errorf("%d, %v; want %d", got, err, test.want)
				}
				if took := time.Since(begin); took > test.most {
					t.Errorf("it took %v, and may take %v", took, test.most)
				}
			})
		})
	}
}
