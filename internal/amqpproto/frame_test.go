package amqpproto

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestParseFrame(t *testing.T) {
	ack := "\x01\x00\x05\x00\x00\x00\x0d\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x07\x01\xce"
	tests := []struct {
		name     string
		in       string
		frameMax uint32
		want     Frame
		n        int
	}{
		{"method", ack, 4096, Frame{FrameMethod, 5, []byte(ack[7:20])}, 21},
		{"with another after it", ack + ack, 4096, Frame{FrameMethod, 5, []byte(ack[7:20])}, 21},
		{"exactly frame-max", ack, 21, Frame{FrameMethod, 5, []byte(ack[7:20])}, 21},
		{"no frame-max", ack, 0, Frame{FrameMethod, 5, []byte(ack[7:20])}, 21},
		{"heartbeat", "\x08\x00\x00\x00\x00\x00\x00\xce", 4096, Frame{FrameHeartbeat, 0, []byte{}}, 8},
		{"channel of two bytes", "\x03\xfe\xdc\x00\x00\x00\x01x\xce", 4096, Frame{FrameBody, 0xFEDC, []byte("x")}, 9},
		{"nothing", "", 4096, Frame{}, 0},
		{"cut in the header", ack[:6], 4096, Frame{}, 0},
		{"cut in the payload", ack[:19], 4096, Frame{}, 0},
		{"cut before the end octet", ack[:20], 4096, Frame{}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, n, err := ParseFrame([]byte(test.in), test.frameMax)
			if err != nil || n != test.n {
				t.Fatalf("got n %d and error %v, want %d", n, err, test.n)
			}
			if f.Type != test.want.Type || f.Channel != test.want.Channel || !bytes.Equal(f.Payload, test.want.Payload) {
				t.Errorf("got %+v, want %+v", f, test.want)
			}
			if cap(f.Payload) != len(f.Payload) {
				t.Errorf("an append to the payload would write after it")
			}
		})
	}
}

func TestParseFrameErrors(t *testing.T) {
	if _, n, err := ParseFrame([]byte("\x03\x00\x01\x00\x00\x00\x01xy"), 4096); !errors.Is(err, ErrFrameEnd) || n != 0 {
		t.Errorf("wrong end octet: got %d, %v", n, err)
	}
	var typeErr *FrameTypeError
	if _, _, err := ParseFrame([]byte("HTTP/1.1 400"), 4096); !errors.As(err, &typeErr) || typeErr.Type != 'H' {
		t.Errorf("unknown type: got %v", err)
	}
	// The header alone is enough to refuse all of these.
	sizes := []struct {
		name     string
		header   string
		frameMax uint32
		size     uint64
	}{
		{"one over frame-max", "\x03\x00\x01\x00\x00\x0f\xf9", 4096, 4097},
		{"2 GiB", "\x01\x00\x00\x80\x00\x00\x00", 4096, 1<<31 + 8},
		{"4 GiB", "\x01\x00\x00\xff\xff\xff\xff", math.MaxUint32, 1<<32 + 7},
		{"2 GiB without a frame-max", "\x01\x00\x00\x80\x00\x00\x00", 0, 1<<31 + 8},
	}
	for _, test := range sizes {
		var tooLarge *FrameTooLargeError
		if _, _, err := ParseFrame([]byte(test.header), test.frameMax); !errors.As(err, &tooLarge) || tooLarge.Size != test.size {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}

// TestParseFrameCutAnywhere gives a stream of frames byte by byte.
func TestParseFrameCutAnywhere(t *testing.T) {
	props := fullProperties()
	stream, err := AppendPublish(AppendHeartbeat(nil), 1, 600, &BasicPublish{RoutingKey: "hello"}, &Properties{AppID: "thump"}, make([]byte, 1000))
	if err != nil {
		t.Fatal(err)
	}
	if stream, err = AppendPublish(stream, 1, 4096, &BasicPublish{Exchange: "x"}, &props, nil); err != nil {
		t.Fatal(err)
	}
	begin, frames := 0, 0
	for end := range len(stream) + 1 {
		_, n, err := ParseFrame(stream[begin:end], 4096)
		if err != nil {
			t.Fatalf("bytes %d to %d: %v", begin, end, err)
		}
		if n != 0 && n != end-begin {
			t.Fatalf("bytes %d to %d: frame of %d was not seen when complete", begin, end, n)
		}
		if n > 0 {
			begin, frames = end, frames+1
		}
	}
	if want := 7; frames != want || begin != len(stream) {
		t.Errorf("got %d frames in %d bytes, want %d in %d", frames, begin, want, len(stream))
	}
}

func TestAppendHeartbeat(t *testing.T) {
	b := AppendHeartbeat([]byte("x"))
	f, n, err := ParseFrame(b[1:], 0)
	if err != nil || n != 8 || f.Type != FrameHeartbeat || f.Channel != 0 || len(f.Payload) != 0 {
		t.Errorf("got % x, which reads as %+v, %d, %v", b, f, n, err)
	}
}
