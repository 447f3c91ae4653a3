package streamproto

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestParseFrame(t *testing.T) {
	heartbeat := "\x00\x00\x00\x04\x00\x17\x00\x01"
	credit := "\x00\x00\x00\x07\x80\x09\x00\x01\x00\x04\x05"
	deliver := "\x00\x00\x00\x06\x00\x08\x00\x02ab"
	tests := []struct {
		name   string
		in     string
		limits Limits
		want   Frame
		n      int
		there  bool
	}{
		{"heartbeat", heartbeat, Limits{4, 4}, Frame{KeyHeartbeat, false, 1, []byte{}}, 8, true},
		{"response, with another frame after it", credit + heartbeat, Limits{7, 1}, Frame{KeyCredit, true, 1, []byte("\x00\x04\x05")}, 11, true},
		{"deliver, which has a limit of its own", deliver, Limits{4, 6}, Frame{KeyDeliver, false, 2, []byte("ab")}, 10, true},
		{"no limits", deliver, Limits{}, Frame{KeyDeliver, false, 2, []byte("ab")}, 10, true},
		{"nothing", "", Limits{}, Frame{}, 0, false},
		{"cut in the size", credit[:3], Limits{}, Frame{}, 0, false},
		{"cut in the version", credit[:7], Limits{}, Frame{}, 0, false},
		{"cut in the body", credit[:10], Limits{}, Frame{}, 11, false},
		{"1 GiB to come", "\x3f\xff\xff\xff\x00\x08\x00\x01", Limits{}, Frame{}, 1<<30 + 3, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, n, err := ParseFrame([]byte(test.in), test.limits)
			if err != nil || n != test.n || (n > 0 && n <= len(test.in)) != test.there {
				t.Fatalf("got n %d and error %v, want %d", n, err, test.n)
			}
			if f.Key != test.want.Key || f.Response != test.want.Response || f.Version != test.want.Version || !bytes.Equal(f.Body, test.want.Body) {
				t.Errorf("got %+v, want %+v", f, test.want)
			}
			if cap(f.Body) != len(f.Body) {
				t.Error("an append to the body would write after it")
			}
		})
	}
}

func TestParseFrameErrors(t *testing.T) {
	// The header alone is enough to refuse all of these.
	tooLarge := []struct {
		name   string
		header string
		limits Limits
		want   FrameTooLargeError
	}{
		{"one over the limit", "\x00\x00\x10\x01\x80\x0f\x00\x01", Limits{4096, 1 << 20}, FrameTooLargeError{KeyMetadata, 4097, 4096}},
		{"deliver", "\x00\x00\x10\x01\x00\x08\x00\x01", Limits{1 << 20, 4096}, FrameTooLargeError{KeyDeliver, 4097, 4096}},
		{"no limit", "\x40\x00\x00\x01\x00\x08\x00\x01", Limits{}, FrameTooLargeError{KeyDeliver, 1<<30 + 1, 1 << 30}},
		{"4 GiB", "\xff\xff\xff\xff\x00\x0f\x00\x01", Limits{math.MaxUint32, math.MaxUint32}, FrameTooLargeError{KeyMetadata, math.MaxUint32, 1 << 30}},
		{"deliver with the response bit", "\x00\x00\x10\x01\x80\x08\x00\x01", Limits{4096, 1 << 20}, FrameTooLargeError{KeyDeliver, 4097, 4096}},
	}
	for _, test := range tooLarge {
		var err *FrameTooLargeError
		if _, n, got := ParseFrame([]byte(test.header), test.limits); !errors.As(got, &err) || *err != test.want || n != 0 {
			t.Errorf("%s: got %d, %v", test.name, n, got)
		}
	}
	for _, in := range []string{"\x00\x00\x00\x03", "\x00\x00\x00\x00\x00\x17\x00\x01", "\x00\x00\x00\x03\x00\x17\x00"} {
		if _, _, err := ParseFrame([]byte(in), Limits{}); !errors.Is(err, ErrFrameSize) {
			t.Errorf("% x: got %v", in, err)
		}
	}
}

// TestParseFrameCutAnywhere gives the recorded frames byte by byte.
func TestParseFrameCutAnywhere(t *testing.T) {
	for _, name := range conversations {
		for _, s := range readConversation(t, name) {
			for size := range s.bytes {
				f, n, err := ParseFrame(s.bytes[:size], Limits{Frame: 1 << 20, Deliver: 1 << 20})
				want := 0
				if size >= FrameHeaderSize {
					want = len(s.bytes)
				}
				if err != nil || n != want || f.Body != nil {
					t.Fatalf("%s: %d of %d bytes read as %+v, %d, %v", name, size, len(s.bytes), f, n, err)
				}
			}
		}
	}
}

func TestAppendHeartbeat(t *testing.T) {
	b := AppendHeartbeat([]byte("x"))
	if f := frameOf(t, b[1:]); f.Key != KeyHeartbeat || f.Response || f.Version != 1 || len(f.Body) != 0 || f.IsResponse() {
		t.Errorf("got % x, which reads as %+v", b, f)
	}
}
