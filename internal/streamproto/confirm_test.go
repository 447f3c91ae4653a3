package streamproto

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func TestPublishConfirm(t *testing.T) {
	for _, want := range [][]uint64{nil, {7}, {1 << 63, 2, 3}} {
		b := AppendPublishConfirm([]byte("x"), 9, want...)
		f := frameOf(t, b[1:])
		publisherID, ids, err := ParsePublishConfirm(f)
		if err != nil || publisherID != 9 || ids.Len() != len(want) {
			t.Fatalf("got %d, %d ids, %v", publisherID, ids.Len(), err)
		}
		var got []uint64
		for i := range ids.Len() {
			got = append(got, ids.At(i))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %d, want %d", got, want)
		}
		checkCuts(t, f, func(f Frame) error {
			_, ids, err := ParsePublishConfirm(f)
			if err != nil && ids.Len() != 0 {
				t.Errorf("%d ids and %v", ids.Len(), err)
			}
			return err
		})
	}
	if got, want := AppendPublishConfirm(nil, 9, 0x0102030405060708), "\x00\x00\x00\x11\x00\x03\x00\x01\x09\x00\x00\x00\x01\x01\x02\x03\x04\x05\x06\x07\x08"; string(got) != want {
		t.Errorf("got % x", got)
	}
}

func TestPublishError(t *testing.T) {
	want := []uint64{1 << 63, 2, 3}
	b := AppendPublishError([]byte("x"), 9, CodePublisherDoesNotExist, want...)
	f := frameOf(t, b[1:])
	publisherID, errs, err := ParsePublishError(f)
	if err != nil || publisherID != 9 || errs.Len() != len(want) {
		t.Fatalf("got %d, %d ids, %v", publisherID, errs.Len(), err)
	}
	for i := range want {
		if id, code := errs.At(i); id != want[i] || code != CodePublisherDoesNotExist {
			t.Errorf("got %d with %v, want %d", id, code, want[i])
		}
	}
	checkCuts(t, f, func(f Frame) error {
		_, _, err := ParsePublishError(f)
		return err
	})
	if got, want := AppendPublishError(nil, 9, 18, 0x0102030405060708), "\x00\x00\x00\x13\x00\x04\x00\x01\x09\x00\x00\x00\x01\x01\x02\x03\x04\x05\x06\x07\x08\x00\x12"; string(got) != want {
		t.Errorf("got % x", got)
	}
}

// checkCuts gives parse the frame cut at each byte, with one more, with a count
// that is too high, and with a key and a version that are not its own.
func checkCuts(t *testing.T, f Frame, parse func(f Frame) error) {
	t.Helper()
	for size := range f.Body {
		cut := f
		cut.Body = f.Body[:size]
		if err := parse(cut); !isShort(err) {
			t.Errorf("%v cut to %d bytes: got %v", f.Key, size, err)
		}
	}
	long := f
	long.Body = append(bytes.Clone(f.Body), 0)
	if err := parse(long); err == nil {
		t.Errorf("%v with a byte after it: no error", f.Key)
	}
	many := f
	many.Body = bytes.Clone(f.Body)
	many.Body[1] = 0xFF
	if err := parse(many); !isShort(err) {
		t.Errorf("%v with a count that is too high: got %v", f.Key, err)
	}
	var unexpectedErr *UnexpectedFrameError
	for _, other := range []Frame{{KeyHeartbeat, false, 1, f.Body}, {f.Key, true, 1, f.Body}, {f.Key, false, 2, f.Body}} {
		if err := parse(other); !errors.As(err, &unexpectedErr) {
			t.Errorf("%+v: got %v", other, err)
		}
	}
}
