package main

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// stubTask is for one side of a scenario.
func stubTask(safe bool, roles ...string) task {
	return task{Queue: "q", Count: 5000, Safe: safe, Window: 300, Prefetch: 100, AckEvery: 25, Roles: roles}
}

// startTestStub starts a stub that gives its last connections more time than a test takes.
func startTestStub(t *testing.T, tt task, body func([]byte, int) []byte) *stub {
	t.Helper()
	s, err := startStub(tt, body)
	if err != nil {
		t.Fatal(err)
	}
	s.linger = time.Minute
	return s
}

// do opens a peer's side, does its work and closes it.
func do(t *testing.T, peer, role string, tt task) job {
	t.Helper()
	j, err := openers()[peer][role](tt)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.work(); err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
	return j
}

// The stub takes every message that a peer publishes, and every peer receives all that
// it pours, in order, with confirms and acks and without.
func TestStub(t *testing.T) {
	for _, peer := range []string{"floor", thumpTitle, "amqp091-go"} {
		for _, role := range []string{roleSend, roleReceive} {
			for name, safe := range map[string]bool{"fast": false, "safe": true} {
				t.Run(peer+" "+role+" "+name, func(t *testing.T) {
					t.Parallel()
					tt := stubTask(safe, role)
					s := startTestStub(t, tt, appendBody)
					tt.URL = s.url()
					do(t, peer, role, tt)
					if err := s.finish(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// The senders with a rate send everything and report every message but the first ones;
// the receivers have the times out of the bodies.
func TestPacedPeers(t *testing.T) {
	for _, peer := range []string{"floor", thumpTitle, "amqp091-go"} {
		t.Run(peer, func(t *testing.T) {
			t.Parallel()
			tt := stubTask(true, roleSend, roleReceive)
			tt.Rate, tt.Warm = 50_000, 1000
			due := time.Now().Add(-time.Second)
			s := startTestStub(t, tt, func(dst []byte, i int) []byte {
				body := make([]byte, timedBytes)
				putTimed(body, due.UnixNano(), i)
				return append(dst, body...)
			})
			tt.URL = s.url()
			sent := do(t, peer, rolePacedSend, tt).timings()
			received := do(t, peer, rolePacedReceive, tt).timings()
			if err := s.finish(); err != nil {
				t.Error(err)
			}
			counted := int64(tt.Count - tt.Warm)
			if sent.Confirm.Count != counted || sent.Late.Count != counted || received.Receive.Count != counted {
				t.Errorf("%d confirmed, %d handed over, %d received; expected %d",
					sent.Confirm.Count, sent.Late.Count, received.Receive.Count, counted)
			}
			if received.Receive.P50 < 1e6 || sent.Confirm.P50 < sent.Late.P50 {
				t.Errorf("received after %v µs of 1 s or more; confirmed after %v, handed over after %v",
					received.Receive.P50, sent.Confirm.P50, sent.Late.P50)
			}
		})
	}
}

// What is not moved, or not understood, is an error at the end.
func TestStubFinds(t *testing.T) {
	login := func(socket net.Conn) { _, _ = io.WriteString(socket, amqpproto.ProtocolHeader) }
	for name, tt := range map[string]struct {
		role   string
		client func(socket net.Conn)
		want   string
	}{
		"too few published": {roleSend, func(socket net.Conn) { login(socket); socket.Close() }, "0 messages were published, expected 5000"},
		"too few poured":    {roleReceive, func(socket net.Conn) { login(socket); socket.Close() }, "0 messages were poured, expected 5000"},
		"another protocol":  {roleSend, func(socket net.Conn) { _, _ = io.WriteString(socket, "GET / HTTP/1.1\r\n") }, "not the protocol header"},
		"no frames":         {roleSend, func(socket net.Conn) { login(socket); _, _ = socket.Write(make([]byte, 100)) }, "0xCE"},
		"a frame too large": {roleSend, func(socket net.Conn) {
			login(socket)
			_, _ = socket.Write([]byte{1, 0, 1, 0x7f, 0xff, 0xff, 0xff})
			_, _ = socket.Write(make([]byte, stubReadBytes))
		}, "larger than"},
		"a method it does not know": {roleSend, func(socket net.Conn) {
			login(socket)
			frame, _ := amqpproto.AppendMethodFrame(nil, 1, &amqpproto.QueuePurge{Queue: "q"})
			_, _ = socket.Write(frame)
		}, "queue.purge"},
		"another consumer tag": {roleReceive, func(socket net.Conn) {
			login(socket)
			frame, _ := amqpproto.AppendMethodFrame(nil, 1, &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "ctag-1"})
			_, _ = socket.Write(frame)
		}, "ctag-1"},
		"silence": {roleSend, func(net.Conn) {}, "waiting for the protocol header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startTestStub(t, stubTask(false, tt.role), appendBody)
			socket, err := net.Dial("tcp", s.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			tt.client(socket)
			waitForConnection(t, s)
			if name == "silence" {
				s.linger = time.Millisecond
			}
			if err := s.finish(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q in it", err, tt.want)
			}
		})
	}
}

// waitForConnection waits until the stub has accepted one.
func waitForConnection(t *testing.T, s *stub) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		n := len(s.sockets)
		s.mu.Unlock()
		if n > 0 {
			return
		}
	}
	t.Fatal("it accepts no connection")
}

// A measurement with the stub: three processes, and the CPU time of the stub.
func TestMeasureStub(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := goPeer("floor", "", os.Args[0], everywhere, nil)
	if _, err := p.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	tt := stubTask(true)
	got, err := measureStub(ctx, os.Args[0], p, scenario{Sends: true, Receives: true, Safe: true, Stub: true}, tt)
	if err != nil {
		t.Fatal(err)
	}
	if got.Count != tt.Count || got.Seconds <= 0 || got.BrokerCPUSeconds == nil {
		t.Errorf("got %+v", got)
	}
}

// The stub ends with its parent, of which it sees only that its input ends.
func TestStubEndsWithItsParent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := startChild(ctx, roleServe, workers(os.Args[0], stubTitle)[roleServe], stubTask(false, roleSend))
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	if err := c.in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.command.Wait(); err == nil || ctx.Err() != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(c.ready.URL, "amqp://guest:guest@"), "/")); err == nil {
		t.Error("somebody still listens there")
	}
}
