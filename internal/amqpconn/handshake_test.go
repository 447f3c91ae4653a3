package amqpconn

import (
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// start is a connection.start frame whose server-properties begin with table,
// its length included.
func start(table []byte) []byte {
	payload := binary.BigEndian.AppendUint32(nil, uint32(amqpproto.MethodConnectionStart))
	payload = append(payload, 0, 9)
	payload = append(payload, table...)
	return fakebroker.Raw(amqpproto.FrameMethod, 0, payload)
}

// nested is a table within a table, depth deep; a level takes six bytes.
func nested(depth int) []byte {
	table := binary.BigEndian.AppendUint32(nil, uint32(6*depth))
	for depth--; depth >= 0; depth-- {
		table = append(table, 0, 'F')
		table = binary.BigEndian.AppendUint32(table, uint32(6*depth))
	}
	return table
}

// flood is a script that sends b until the client hangs up.
func flood(b []byte) func(*fakebroker.Session) {
	return func(s *fakebroker.Session) {
		for s.Offer(b) {
		}
	}
}

// TestNotABroker greets the client with what no RabbitMQ would. Dial must fail
// within its timeout, say what it found, and not believe any length.
func TestNotABroker(t *testing.T) {
	send := func(b string) func(*fakebroker.Session) {
		return func(s *fakebroker.Session) {
			s.SendBytes([]byte(b))
			s.Discard()
		}
	}
	sendAndClose := func(b string) func(*fakebroker.Session) {
		return func(s *fakebroker.Session) {
			s.ReadBytes(8)
			s.SendBytes([]byte(b))
			s.Close()
		}
	}
	blocked := fakebroker.Frame(0, &amqpproto.ConnectionBlocked{Reason: strings.Repeat("x", 200)})
	for _, test := range []struct {
		name   string
		script func(*fakebroker.Session)
		want   string
	}{
		{"AMQP 1.0", sendAndClose("AMQP\x00\x01\x00\x00"), "does not speak AMQP 0-9-1: it asks for AMQP with the header 00 01 00 00"},
		{"AMQP 1.0 with SASL", send("AMQP\x03\x01\x00\x00"), "03 01 00 00"},
		{"a frame of 2 GiB", send("\x01\x00\x00\x7f\xff\xff\xff\x00\x0a\x00\x0a"), "frame of 2147483655 bytes is larger"},
		{"a frame of 20000 bytes", send("\x01\x00\x00\x00\x00\x4e\x20\x00\x0a\x00\x0a"), "larger than the 16384 that are accepted"},
		{"a table of 2 GiB in a frame of 22 bytes", send(string(start([]byte("\x7f\xff\xff\xff\x00\x00\x00\x00")))), "too short"},
		{"a long string of 2 GiB in a table", send(string(start([]byte("\x00\x00\x00\x07\x01aS\x7f\xff\xff\xff")))), "too short"},
		{"tables nested 2700 deep", send(string(start(nested(2700)))), "nested"},
		{"tables nested 15000 deep", func(s *fakebroker.Session) { s.Offer(start(nested(15000))); s.Discard() }, "larger than the 16384 that are accepted"},
		{"a bad frame end", send("\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\xcd"), "0xCE"},
		{"an unknown method", send("\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x63\xce"), "class 10 method 99"},
		{"another method", send(string(fakebroker.Frame(0, &amqpproto.ConnectionOpenOk{}))), "connection.open-ok instead of connection.start"},
		{"a method on channel 1", send(string(fakebroker.Frame(1, fakebroker.Likely().Start()))), "not an AMQP server"},
		{"heartbeats and a frame on channel 1", func(s *fakebroker.Session) {
			s.Send(0, fakebroker.Likely().Start())
			s.Send(1, &amqpproto.ChannelOpenOk{})
			s.Discard()
		}, "frame of type 1 on channel 1 during login"},
		{"a body", func(s *fakebroker.Session) {
			s.Send(0, fakebroker.Likely().Start())
			s.SendBytes(fakebroker.Raw(amqpproto.FrameBody, 0, []byte("x")))
			s.Discard()
		}, "frame of type 3 on channel 0 during login"},
		{"connection.secure", func(s *fakebroker.Session) {
			s.Send(0, fakebroker.Likely().Start(), &amqpproto.ConnectionSecure{Challenge: "x"})
			s.Discard()
		}, "connection.secure instead of connection.tune"},
		{"connection.blocked for ever", func(s *fakebroker.Session) {
			s.Send(0, fakebroker.Likely().Start())
			flood(blocked)(s)
		}, "connection.blocked instead of connection.tune"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakebroker.CheckMemory(t, 4<<20, func() {
				synctest.Test(t, func(t *testing.T) {
					b := fakebroker.Pipe(t, conntest.SocketSize, test.script)
					begin := time.Now()
					conn, err := Dial(t.Context(), config(b))
					if err == nil {
						conntest.Drop(conn)
						t.Fatal("dial succeeded")
					}
					if !strings.Contains(err.Error(), test.want) {
						t.Errorf("got %v\nwant %q in it", err, test.want)
					}
					if took := time.Since(begin); took > config(b).Timeout {
						t.Errorf("dial took %v", took)
					}
				})
			})
		})
	}
}

// TestTune checks what is agreed on, whatever the broker proposes. 0 is "no
// limit", which we never answer.
func TestTune(t *testing.T) {
	ours := amqpproto.ConnectionTune{ChannelMax: 100, FrameMax: 65536, Heartbeat: 30}
	for _, test := range []struct {
		name         string
		theirs, want amqpproto.ConnectionTune
	}{
		{"nothing", amqpproto.ConnectionTune{}, ours},
		{"more", amqpproto.ConnectionTune{ChannelMax: 65535, FrameMax: 1 << 31, Heartbeat: 65535}, ours},
		{"less", amqpproto.ConnectionTune{ChannelMax: 1, FrameMax: 4096, Heartbeat: 1}, amqpproto.ConnectionTune{ChannelMax: 1, FrameMax: 4096, Heartbeat: 1}},
		{"the same", ours, ours},
		{"no heartbeat", amqpproto.ConnectionTune{ChannelMax: 50, FrameMax: 8192}, amqpproto.ConnectionTune{ChannelMax: 50, FrameMax: 8192, Heartbeat: 30}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greeting := fakebroker.Likely()
				greeting.Tune = test.theirs
				b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
					s.LoginAs(greeting)
					if got := amqpproto.ConnectionTune(*s.TuneOk); got != test.want {
						t.Errorf("got %+v, want %+v", got, test.want)
					}
					s.Serve(nil)
				})
				cfg := config(b)
				cfg.ChannelMax, cfg.FrameMax, cfg.Heartbeat = ours.ChannelMax, ours.FrameMax, 30*time.Second
				conn := dial(t, cfg)
				defer conntest.Drop(conn)
				got := conn.Server()
				if got.ChannelMax != test.want.ChannelMax || got.FrameMax != test.want.FrameMax ||
					got.Heartbeat != time.Duration(test.want.Heartbeat)*time.Second {
					t.Errorf("Server() is %+v, want %+v", got, test.want)
				}
			})
		})
	}
}

// TestTuneFrameTooSmall proposes frames in which nothing fits.
func TestTuneFrameTooSmall(t *testing.T) {
	for _, size := range []uint32{1, 7, 8, 100, amqpproto.FrameMinSize - 1} {
		synctest.Test(t, func(t *testing.T) {
			greeting := fakebroker.Likely()
			greeting.Tune.FrameMax = size
			b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
				s.ExpectProtocolHeader()
				s.Send(0, greeting.Start())
				fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
				s.Send(0, &greeting.Tune)
				s.Discard()
			})
			conn, err := Dial(t.Context(), config(b))
			if err == nil {
				conntest.Drop(conn)
			}
			if err == nil || !strings.Contains(err.Error(), "frames of at most") {
				t.Errorf("frame-max %d: got %v", size, err)
			}
		})
	}
}

// TestHeartbeatTooLong asks for a heartbeat that its field cannot hold.
func TestHeartbeatTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		greeting := fakebroker.Likely()
		greeting.Tune.Heartbeat = 0
		b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
			s.LoginAs(greeting)
			if s.TuneOk.Heartbeat != 65535 {
				t.Errorf("agreed on a heartbeat of %d s, want 65535", s.TuneOk.Heartbeat)
			}
			s.Serve(nil)
		})
		cfg := config(b)
		cfg.Heartbeat = 65536 * time.Second
		conn := dial(t, cfg)
		defer conntest.Drop(conn)
		if got := conn.Server().Heartbeat; got != 65535*time.Second {
			t.Errorf("heartbeat %v, want 65535 s", got)
		}
	})
}
