package main

import (
	"testing"

	"github.com/thumpmq/thump/internal/amqpproto"
)

func TestNextFrame(t *testing.T) {
	whole, err := amqpproto.AppendMethodFrame(nil, 1, &amqpproto.BasicQos{})
	if err != nil {
		t.Fatal(err)
	}
	stream := amqpproto.AppendHeartbeat(append([]byte(nil), whole...))
	kind, payload, n := nextFrame(stream)
	if kind != amqpproto.FrameMethod || n != len(whole) || len(payload) != n-amqpproto.FrameOverhead {
		t.Errorf("first frame: type %d, %d bytes, payload of %d; want type 1 and %d bytes", kind, n, len(payload), len(whole))
	}
	if kind, payload, n = nextFrame(stream[n:]); kind != amqpproto.FrameHeartbeat || n != 8 || len(payload) != 0 {
		t.Errorf("second frame: type %d, %d bytes, payload of %d; want a heartbeat", kind, n, len(payload))
	}
	for cut := range len(whole) {
		if _, _, n := nextFrame(whole[:cut]); n != 0 {
			t.Errorf("%d bytes of a frame of %d were taken for one of %d", cut, len(whole), n)
		}
	}
}

func TestEncodeAll(t *testing.T) {
	frames, ends, err := encodeAll(task{Queue: "q", Count: 12, Safe: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(ends) != 13 || ends[0] != 0 || ends[12] != len(frames) {
		t.Fatalf("ends are %v, want 13 from 0 to %d", ends, len(frames))
	}
	check := newBodyCheck(12)
	c := &bareConn{bareSocket{buf: frames, end: len(frames)}}
	for {
		kind, payload, n := nextFrame(c.unread())
		if n == 0 {
			break
		}
		c.start += n
		if kind != amqpproto.FrameBody {
			continue
		}
		if err := check.take(payload); err != nil {
			t.Fatal(err)
		}
		if c.start != ends[check.count] {
			t.Errorf("message %d ends at %d, want %d", check.count, c.start, ends[check.count])
		}
	}
	if check.count != 12 {
		t.Errorf("%d messages, want 12", check.count)
	}
}

func TestConfirmCount(t *testing.T) {
	type confirm struct {
		tag      uint64
		multiple bool
	}
	for name, tt := range map[string]struct {
		confirms []confirm
		want     int
		fails    bool
	}{
		"one by one":               {confirms: []confirm{{1, false}, {2, false}}, want: 2},
		"many":                     {confirms: []confirm{{5, true}}, want: 5},
		"many over single ones":    {confirms: []confirm{{3, false}, {5, true}}, want: 5},
		"single ones out of order": {confirms: []confirm{{4, false}, {1, false}}, want: 2},
		"twice":                    {confirms: []confirm{{2, true}, {2, false}}, want: 2},
		"not sent":                 {confirms: []confirm{{11, false}}, fails: true},
		"zero":                     {confirms: []confirm{{0, true}}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			count := newConfirmCount(10)
			var err error
			for _, c := range tt.confirms {
				err = count.confirm(c.tag, c.multiple)
			}
			if (err != nil) != tt.fails {
				t.Errorf("the error is %v", err)
			}
			if count.count != tt.want {
				t.Errorf("count is %d, want %d", count.count, tt.want)
			}
		})
	}
}
