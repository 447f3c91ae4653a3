package amqpconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestBrokenProtocol has a broker break the protocol once the connection works:
// channel 1 consumes, channel 2 publishes with confirms and has two messages in
// flight. Each time the connection must end, tell the broker the right code, say
// what was wrong, give every message its outcome, and not believe any length.
func TestBrokenProtocol(t *testing.T) {
	frame, raw, header := fakebroker.Frame, fakebroker.Raw, fakebroker.Header
	delivery := frame(1, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: 2, RoutingKey: "q"})
	method := func(channel uint16, payload string) []byte {
		return raw(amqpproto.FrameMethod, channel, []byte(payload))
	}
	back := func(channel uint16, body string) []byte {
		return fakebroker.Content(channel, 4096, &amqpproto.BasicReturn{ReplyCode: 312, ReplyText: "NO_ROUTE", RoutingKey: "q"}, nil, []byte(body))
	}
	body := func(channel uint16, b string) []byte { return raw(amqpproto.FrameBody, channel, []byte(b)) }
	for _, test := range []struct {
		name string
		sent []byte
		code uint16
		want string
	}{
		{"a header of 2 GiB", []byte("\x02\x00\x01\x7f\xff\xff\xff"), 501, "larger than the 536870912 that are accepted"},
		{"a method of one byte too many", []byte("\x01\x00\x01\x00\x01\xff\xf9"), 501, "frame of 131073 bytes"},
		{"a header of one byte too many", slices.Concat(delivery, []byte("\x02\x00\x01\x1f\xff\xff\xf9")), 501, "frame of 536870913 bytes"},
		{"a body of one byte too many", []byte("\x03\x00\x01\x00\x01\xff\xf9"), 501, "frame of 131073 bytes"},
		{"a frame type that is not", raw(9, 1, nil), 501, "unknown frame type 9"},
		{"a bad frame end", append(frame(1, &amqpproto.BasicQosOk{})[:11], 0xCD), 501, "0xCE"},
		{"a bad frame end of a header", slices.Concat(delivery, header(1, 0)[:21], []byte{0}), 501, "0xCE"},
		{"a bad frame end of a body", slices.Concat(delivery, header(1, 1), body(1, "a")[:8], []byte{0}), 501, "0xCE"},
		{"an unopened channel", frame(7, &amqpproto.BasicQosOk{}), 504, "channel 7, which is not open"},
		{"the last channel", frame(65535, &amqpproto.ChannelClose{}), 504, "channel 65535, which is not open"},
		{"an unknown class", method(1, "\x00\x63\x00\x01"), 502, "class 99 method 1"},
		{"an unknown method", method(1, "\x00\x3c\x00\x63"), 502, "class 60 method 99"},
		{"an empty method frame", method(1, ""), 502, "too short"},
		{"half a method", method(1, "\x00\x3c\x00"), 502, "too short"},
		{"too few arguments", method(1, "\x00\x3c\x00\x15\x05a"), 502, "too short"},
		{"too many arguments", method(1, "\x00\x3c\x00\x0b\x00"), 502, "left over"},
		{"a delivery cut short", method(1, "\x00\x3c\x00\x3c\x01c\x00"), 502, "too short"},
		{"an ack cut short", method(2, "\x00\x3c\x00\x50\x00\x00"), 502, "too short"},
		{"an ack with a strange bit", method(2, "\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x01\x80"), 502, "bit"},
		{"a nack cut short", method(2, "\x00\x3c\x00\x78"), 502, "too short"},
		{"a method only clients send", frame(1, &amqpproto.BasicQos{}), 505, "basic.qos, which answers nothing"},
		{"a publish", frame(1, &amqpproto.BasicPublish{}), 505, "basic.publish, which answers nothing"},
		{"an answer to nothing", frame(1, &amqpproto.BasicQosOk{}), 505, "basic.qos-ok, which answers nothing"},
		{"an answer to nothing on channel 0", frame(0, &amqpproto.ConnectionOpenOk{}), 505, "connection.open-ok, which answers nothing"},
		{"a second login", frame(0, &amqpproto.ConnectionTune{}), 505, "connection.tune, which answers nothing"},
		{"a goodbye answered unasked", frame(0, &amqpproto.ConnectionCloseOk{}), 505, "connection.close-ok, which answers nothing"},
		{"channel.close-ok unasked", frame(1, &amqpproto.ChannelCloseOk{}), 505, "channel.close-ok, which answers nothing"},
		{"channel.open-ok again", frame(1, &amqpproto.ChannelOpenOk{}), 505, "channel.open-ok, which answers nothing"},
		{"a message nobody got", fakebroker.Content(1, 4096, &amqpproto.BasicGetOk{DeliveryTag: 2}, nil, []byte("x")), 505, "basic.get-ok, which answers nothing"},
		{"get-empty to nobody", frame(1, &amqpproto.BasicGetEmpty{}), 505, "basic.get-empty, which answers nothing"},

		{"a header without a method", header(1, 1), 505, "frame of type 2 without a method"},
		{"a body without a method", body(1, "x"), 505, "frame of type 3 without a method"},
		{"a body on channel 0", body(0, "x"), 505, "frame of type 3 without a method"},
		{"a method inside a content", slices.Concat(delivery, frame(1, &amqpproto.BasicQosOk{})), 505, "frame of type 1 inside a content"},
		{"a method before the body", slices.Concat(delivery, header(1, 5), delivery), 505, "frame of type 1 inside a content"},
		{"a method inside a body", slices.Concat(delivery, header(1, 5), body(1, "ab"), delivery), 505, "frame of type 1 inside a content"},
		{"a body before the header", slices.Concat(delivery, body(1, "x")), 505, "frame of type 3 inside a content"},
		{"two headers", slices.Concat(delivery, header(1, 5), header(1, 5)), 505, "frame of type 2 inside a content"},
		{"more body than announced", slices.Concat(delivery, header(1, 3), body(1, "abcde")), 505, "more body than the 3 bytes announced"},
		{"more body than announced, later", slices.Concat(delivery, header(1, 3), body(1, "ab"), body(1, "cd")), 505, "more body than the 3 bytes announced"},
		{"a body where none is announced", slices.Concat(delivery, header(1, 0), body(1, "x")), 505, "without a method"},
		{"a header cut short", slices.Concat(delivery, raw(2, 1, []byte("\x00\x3c\x00\x00"))), 502, "too short"},
		{"a weight", slices.Concat(delivery, raw(2, 1, []byte("\x00\x3c\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))), 502, "weight"},
		{"a body of 2^63 bytes", slices.Concat(delivery, header(1, 1<<63)), 501, "a body over 512 MiB"},
		{"a body of 2^64-1 bytes", slices.Concat(delivery, header(1, 1<<64-1)), 501, "a body over 512 MiB"},
		{"a body of 512 MiB and one", slices.Concat(delivery, header(1, 512<<20+1)), 501, "a body over 512 MiB"},

		{"a consumer never started", frame(1, &amqpproto.BasicDeliver{ConsumerTag: "z", DeliveryTag: 2}), 505, `consumer "z", which was never started`},
		{"a consumer without a name", frame(1, &amqpproto.BasicDeliver{DeliveryTag: 2}), 505, `consumer ""`},
		{"another channel's consumer", frame(2, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: 1}), 505, `consumer "c"`},
		{"a delivery on channel 0", frame(0, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: 1}), 505, `consumer "c"`},
		{"a delivery tag again", deliver(1, 1, "again"), 505, "delivery tag 1 after 1"},
		{"a delivery tag left out", deliver(1, 3, "later"), 505, "delivery tag 3 after 1"},
		{"delivery tag 0", deliver(1, 0, "none"), 505, "delivery tag 0 after 1"},

		{"a confirm never due", frame(2, &amqpproto.BasicAck{DeliveryTag: 3}), 505, "confirm of message 3, and only 2 were published"},
		{"a multiple confirm never due", frame(2, &amqpproto.BasicAck{DeliveryTag: 1<<64 - 1, Multiple: true}), 505, "only 2 were published"},
		{"a nack never due", frame(2, &amqpproto.BasicNack{DeliveryTag: 3}), 505, "confirm of message 3"},
		{"a confirm of message 0", frame(2, &amqpproto.BasicAck{}), 505, "confirm of message 0"},
		{"a confirm without confirms", frame(1, &amqpproto.BasicAck{DeliveryTag: 1}), 505, "confirm on a channel without confirms"},
		{"a confirm on channel 0", frame(0, &amqpproto.BasicAck{DeliveryTag: 1}), 505, "confirm on a channel without confirms"},
		{"a reject", frame(2, &amqpproto.BasicReject{DeliveryTag: 1}), 505, "basic.reject, which answers nothing"},
		{"a return of what was never sent", back(2, "other"), 505, "a message came back that is not in flight"},
		{"a third return of two", slices.Concat(back(2, "one"), back(2, "two"), back(2, "one")), 505, "came back that is not in flight"},
		{"a return where nothing was published", back(1, "one"), 505, "a message came back on a channel that publishes nothing"},
		{"a return where nothing was published, and a large body to come", frame(1, &amqpproto.BasicReturn{ReplyCode: 312}), 505, "a message came back on a channel that publishes nothing"},
		{"a message nobody got, and a large body to come", frame(1, &amqpproto.BasicGetOk{DeliveryTag: 2}), 505, "basic.get-ok, which answers nothing"},
		{"a return after the confirm", slices.Concat(frame(2, &amqpproto.BasicAck{DeliveryTag: 1}), back(2, "one")), 505, "not in flight"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakebroker.CheckMemory(t, 4<<20, func() { brokenProtocol(t, test.sent, test.code, test.want) })
		})
	}
}

func brokenProtocol(t *testing.T, sent []byte, code uint16, want string) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		s.SendBytes(deliver(1, 1, "first"))
		s.OpenPublisher()
		fakebroker.Expect[*amqpproto.BasicPublish](s)
		fakebroker.Expect[*amqpproto.BasicPublish](s)
		s.SendBytes(sent)
		s.Refused(code)
	}, func(t *testing.T, conn *Conn) {
		_, in := openConsumer(t, conn)
		ch := openPublisher(t, conn, 10, false)
		publish(t, ch, 1, "one", "two")
		err := conntest.Ended(t, conn)
		checkViolation(t, err, want)

		if got := receive(t, in, 1); got[0] != "first" {
			t.Errorf("got %q, want what came before", got)
		}
		var d Deliveries
		got := in.Take(t.Context(), &d, 1)
		if got == nil && len(d.List[0].Body) == 0 { // one case begins with an empty message
			got = in.Take(t.Context(), &d, 1)
		}
		if !errors.Is(got, err) {
			t.Errorf("the inbox ended with %v, not %v", got, err)
		}
		if err := ch.window().Wait(t.Context()); err != nil {
			t.Error("waiting for confirms:", err)
		}
		total := ch.window().Totals()
		if total.Published != 2 || total.Confirmed+total.Rejected+total.Returned+total.Unknown != 2 {
			t.Errorf("totals %+v", total)
		}
		if got := conn.Close(t.Context()); !errors.Is(got, err) { // the script waits for our reason
			t.Errorf("close ended with %v", got)
		}
	})
}

// TestWrongAnswer answers a call with another method, of the right kind and not.
func TestWrongAnswer(t *testing.T) {
	for _, answer := range []amqpproto.Method{
		&amqpproto.ConfirmSelectOk{}, &amqpproto.BasicConsumeOk{ConsumerTag: "c"},
		&amqpproto.BasicGetEmpty{}, &amqpproto.BasicQos{}, &amqpproto.ChannelOpen{},
	} {
		t.Run(answer.ID().String(), func(t *testing.T) {
			pair(t, func(s *fakebroker.Session) {
				s.OpenChannel()
				fakebroker.Expect[*amqpproto.BasicQos](s)
				s.Send(1, answer)
				s.Discard()
			}, func(t *testing.T, conn *Conn) {
				ch := openChannel(t, conn)
				checkViolation(t, ch.Qos(t.Context(), 1), "basic.qos answered by "+answer.ID().String())
				checkViolation(t, conntest.Ended(t, conn), "answered by")
			})
		})
	}
}

// TestGetAnsweredWrongly gives a get-ok to a call that is none.
func TestGetAnsweredWrongly(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		fakebroker.Expect[*amqpproto.BasicQos](s)
		s.SendContent(1, &amqpproto.BasicGetOk{DeliveryTag: 1}, nil, []byte("x"))
		s.Discard()
	}, func(t *testing.T, conn *Conn) {
		checkViolation(t, openChannel(t, conn).Qos(t.Context(), 1), "basic.get-ok, which answers nothing")
	})
}

// TestBodyNeverCompleted announces as much as is allowed and sends some of it:
// memory follows what was sent.
func TestBodyNeverCompleted(t *testing.T) {
	fakebroker.CheckMemory(t, 24<<20, func() {
		pair(t, func(s *fakebroker.Session) {
			s.OpenConsumer()
			s.SendBytes(slices.Concat(
				fakebroker.Frame(1, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: 1}),
				fakebroker.Header(1, 512<<20),
			))
			piece := fakebroker.Raw(amqpproto.FrameBody, 1, make([]byte, 100_000))
			for range 40 {
				s.SendBytes(piece)
			}
			empty := fakebroker.Raw(amqpproto.FrameBody, 1, nil)
			for range 10_000 {
				s.SendBytes(empty)
			}
			s.Close()
		}, func(t *testing.T, conn *Conn) {
			_, in := openConsumer(t, conn)
			var d Deliveries
			if err := in.Take(t.Context(), &d, 1); err == nil {
				t.Errorf("a part of a message was delivered: %d bytes", len(d.List[0].Body))
			}
		})
	})
}

// TestHeaderNeverCompleted announces the largest header that is accepted and sends
// some of it: memory follows what was sent.
func TestHeaderNeverCompleted(t *testing.T) {
	fakebroker.CheckMemory(t, 32<<20, func() {
		pair(t, func(s *fakebroker.Session) {
			s.OpenConsumer()
			s.SendBytes(fakebroker.Frame(1, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: 1}))
			s.SendBytes(binary.BigEndian.AppendUint32([]byte{amqpproto.FrameHeader, 0, 1}, headerMax-amqpproto.FrameOverhead))
			piece := make([]byte, 100_000)
			for range 40 {
				s.SendBytes(piece)
			}
			s.Close()
		}, func(t *testing.T, conn *Conn) {
			_, in := openConsumer(t, conn)
			var d Deliveries
			if err := in.Take(t.Context(), &d, 1); err == nil {
				t.Error("a part of a message was delivered")
			}
		})
	})
}

// TestFloods sends what a real broker sends now and then, in masses.
func TestFloods(t *testing.T) {
	repeat := func(s *fakebroker.Session, n int, frame []byte) {
		many := []byte(strings.Repeat(string(frame), 1000))
		for range n / 1000 {
			s.SendBytes(many)
		}
	}
	t.Run("10^5 connection.blocked", func(t *testing.T) {
		heard := 0
		fakebroker.CheckMemory(t, 64<<20, func() {
			synctest.Test(t, func(t *testing.T) {
				b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
					s.Login()
					const each = 1000
					for range 100_000 / each / 2 {
						// Each run of one reason is news once.
						repeat(s, each, fakebroker.Frame(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"}))
						repeat(s, each, fakebroker.Frame(0, &amqpproto.ConnectionBlocked{Reason: "low on disk"}))
					}
					s.Send(0, &amqpproto.ConnectionUnblocked{})
					s.Serve(nil)
				})
				cfg := config(b)
				cfg.OnBlocked = func(string) { heard++ }
				conn := dial(t, cfg)
				synctest.Wait()
				if heard != 101 || conn.Blocked() != "" {
					t.Errorf("heard %d times, blocked %q", heard, conn.Blocked())
				}
				if err := conn.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	})
	for _, m := range []amqpproto.Method{&amqpproto.ChannelFlow{Active: false}, &amqpproto.BasicCancel{ConsumerTag: "c"}} {
		t.Run(fmt.Sprintf("10^6 %v, no answer read", m.ID()), func(t *testing.T) {
			fakebroker.CheckMemory(t, 256<<20, func() {
				pair(t, func(s *fakebroker.Session) {
					s.OpenConsumer()
					flood([]byte(strings.Repeat(string(fakebroker.Frame(1, m)), 1000)))(s)
				}, func(t *testing.T, conn *Conn) {
					openConsumer(t, conn)
					checkViolation(t, conntest.Ended(t, conn), "does not read the answers")
					if len(conn.Out) > 1<<20 {
						t.Errorf("%d bytes wait to be written", len(conn.Out))
					}
				})
			})
		})
	}
	t.Run("channel.flow is answered", func(t *testing.T) {
		pair(t, func(s *fakebroker.Session) {
			s.OpenChannel()
			for i := range 20_000 {
				s.Send(1, &amqpproto.ChannelFlow{Active: i%2 == 0})
				if m, _ := fakebroker.Expect[*amqpproto.ChannelFlowOk](s); m.Active != (i%2 == 0) {
					t.Errorf("flow %d answered by %v", i, m.Active)
				}
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			openChannel(t, conn)
			synctest.Wait()
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
}

// TestSettlesThatNobodyReads: acks do not gather for ever where the broker does not read
// them, and neither do the nacks of what it sends beyond any prefetch.
func TestSettlesThatNobodyReads(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		time.Sleep(time.Second)
	}, func(t *testing.T, conn *Conn) {
		ch, _ := openConsumer(t, conn)
		for tag := uint64(1); ; tag++ {
			err := ch.Ack(false, tag)
			conn.Lock()
			out := len(conn.Out)
			conn.Unlock()
			if out > settleBytesMost+100 || tag > settleBytesMost {
				t.Fatalf("%d bytes wait to be written after %d acks", out, tag)
			}
			if err != nil {
				checkViolation(t, err, "does not read what settles it")
				break
			}
		}
		if err := conntest.Ended(t, conn); !errors.Is(ch.Nack(true, true, 1), err) {
			t.Errorf("it ended with %v, and a nack says otherwise", err)
		}
	})
	for _, came := range []uint64{prefetchMost, prefetchMost + 1} {
		pair(t, func(s *fakebroker.Session) {
			s.OpenConsumer()
			s.Discard()
		}, func(t *testing.T, conn *Conn) {
			ch, in := openConsumer(t, conn)
			in.came = came
			err := ch.GiveBack(in, false)
			if (err == nil) != (came <= prefetchMost) || (conn.Err() == nil) != (err == nil) {
				t.Errorf("giving back %d: %v, the connection: %v", came, err, conn.Err())
			}
		})
	}
}
