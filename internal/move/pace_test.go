package move

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/brokertest"
)

// ackCounter is a connection to a source. It counts the acks that the client sends between two
// basic.qos, which the broker answers once it has read what came before.
type ackCounter struct {
	net.Conn
	most *atomic.Int64 // in a row, of all connections
	acks int64         // since the last basic.qos
	rest []byte        // of what was written, not yet a whole frame
}

func (c *ackCounter) Write(b []byte) (int, error) {
	c.rest = append(c.rest, b...)
	if string(c.rest[:min(4, len(c.rest))]) == "AMQP" {
		c.rest = c.rest[len(amqpproto.ProtocolHeader):]
	}
	for len(c.rest) >= 7 {
		end := 7 + int(binary.BigEndian.Uint32(c.rest[3:])) + 1
		if len(c.rest) < end {
			break
		}
		if frame := c.rest[:end]; frame[0] == 1 {
			switch amqpproto.MethodID(binary.BigEndian.Uint32(frame[7:])) {
			case amqpproto.MethodBasicAck:
				c.acks++
				c.most.Store(max(c.most.Load(), c.acks))
			case amqpproto.MethodBasicQos:
				c.acks = 0
			}
		}
		c.rest = c.rest[end:]
	}
	return c.Conn.Write(b)
}

// TestAcksKeepPace: acks behind messages that stay, each of which costs RabbitMQ as much time as
// there are of those, are never many ahead of the broker.
func TestAcksKeepPace(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		const n, stay = 10_000, 1000
		client := dial(t, b)
		var most atomic.Int64
		source, err := thump.Dial(t.Context(), thump.Config{
			URLs: []string{b.URL}, Recovery: thump.Recovery{Off: true},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return &ackCounter{Conn: conn, most: &most}, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = source.Close(context.Background()) }()
		from, to := queue(t, client, thump.QueueSpec{Kind: thump.Quorum}), queue(t, client, thump.QueueSpec{})
		fill(t, client, from, n)
		receipt, err := Run(t.Context(), Job{
			Source: source, From: from, Target: client, To: to,
			Message: func(d *thump.Delivery) (thump.Message, error) {
				if d.Header("n").(int32) < stay {
					return thump.Message{}, errors.New("it is one of the first")
				}
				return Copy()(d)
			},
		})
		if err != nil || receipt.Left != stay || receipt.Acked != n-stay {
			t.Fatalf("%+v, %v", receipt, err)
		}
		if ahead := most.Load(); ahead < labourMost/stay/2 || ahead > labourMost/stay+batchMost {
			t.Errorf("%d acks were sent in a row that the broker was not asked about", ahead)
		}
		awaitMessages(t, client, from, stay)
	})
}
