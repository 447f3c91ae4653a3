package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
)

func TestReaderReadsInOrder(t *testing.T) {
	in := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 'a', 'b', 'c', 'd'}
	r := NewReader(in)
	if got, want := r.U8(), uint8(1); got != want {
		t.Errorf("U8: got %#x, want %#x", got, want)
	}
	if got, want := r.U16(), uint16(0x0203); got != want {
		t.Errorf("U16: got %#x, want %#x", got, want)
	}
	if got, want := r.U32(), uint32(0x04050607); got != want {
		t.Errorf("U32: got %#x, want %#x", got, want)
	}
	if got, want := r.U64(), uint64(0x08090A0B0C0D0E0F); got != want {
		t.Errorf("U64: got %#x, want %#x", got, want)
	}
	if got, want := r.Bytes(2), []byte("ab"); !bytes.Equal(got, want) || cap(got) != 2 {
		t.Errorf("Bytes: got %q with capacity %d, want %q and 2", got, cap(got), want)
	}
	if got := r.Bytes(0); got == nil || len(got) != 0 {
		t.Errorf("Bytes(0): got %v, want empty and not nil", got)
	}
	if got, want := r.Len(), 2; got != want {
		t.Errorf("Len: got %d, want %d", got, want)
	}
	if got, want := r.Rest(), []byte("cd"); !bytes.Equal(got, want) {
		t.Errorf("Rest: got %q, want %q", got, want)
	}
	if err := r.Finish(); err != nil {
		t.Errorf("Finish: %v", err)
	}
}

func TestReaderShort(t *testing.T) {
	reads := []struct {
		name string
		size int
		read func(r *Reader) (zero bool)
	}{
		{"U8", 1, func(r *Reader) bool { return r.U8() == 0 }},
		{"U16", 2, func(r *Reader) bool { return r.U16() == 0 }},
		{"U32", 4, func(r *Reader) bool { return r.U32() == 0 }},
		{"U64", 8, func(r *Reader) bool { return r.U64() == 0 }},
		{"Bytes", 5, func(r *Reader) bool { return r.Bytes(5) == nil }},
		{"Bytes of a negative number", 1, func(r *Reader) bool { return r.Bytes(-1) == nil }},
	}
	for _, read := range reads {
		t.Run(read.name, func(t *testing.T) {
			for size := range read.size {
				r := NewReader(bytes.Repeat([]byte{0xFF}, size))
				if !read.read(&r) {
					t.Errorf("of %d bytes: did not return zero", size)
				}
				if r.U8() != 0 || r.Len() != 0 || len(r.Rest()) != 0 {
					t.Errorf("of %d bytes: something could still be read", size)
				}
				if err := r.Finish(); !errors.Is(err, ErrShort) {
					t.Errorf("of %d bytes: Finish returned %v, want ErrShort", size, err)
				}
			}
		})
	}
}

func TestReaderFirstErrorSticks(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")

	r := NewReader([]byte{1, 2, 3})
	r.Fail(first)
	r.Fail(second)
	if r.U8() != 0 {
		t.Error("a byte was read after Fail")
	}
	if err := r.Finish(); !errors.Is(err, first) {
		t.Errorf("after Fail twice: got %v, want %v", err, first)
	}

	r = NewReader([]byte{1})
	r.U16()
	r.Fail(second)
	if err := r.Finish(); !errors.Is(err, ErrShort) {
		t.Errorf("after a short read and Fail: got %v, want %v", err, ErrShort)
	}
}

func TestReaderTrailing(t *testing.T) {
	r := NewReader([]byte{1, 2})
	r.U8()
	if err := r.Err(); err != nil {
		t.Errorf("Err: %v", err)
	}
	if err := r.Finish(); !errors.Is(err, ErrTrailing) {
		t.Errorf("Finish: got %v, want ErrTrailing", err)
	}
}

// FuzzReader lets the input choose the reads, and compares each with a plain
// index into the bytes.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5}, []byte("0123456789012345678901234567890"))
	f.Add([]byte{4, 255, 0}, []byte("short"))
	mutate.Fuzz(f, func(t *testing.T, script, in []byte) {
		r := NewReader(in)
		at, failed := 0, false
		take := func(n int) []byte {
			if failed = failed || n < 0 || n > len(in)-at; failed {
				return nil
			}
			at += n
			return in[at-n : at]
		}
		check := func(name string, got, want uint64) {
			if got != want {
				t.Fatalf("%s before offset %d: got %#x, want %#x", name, at, got, want)
			}
		}
		for i, op := range script {
			switch op % 6 {
			case 0:
				check("U8", uint64(r.U8()), number(take(1)))
			case 1:
				check("U16", uint64(r.U16()), number(take(2)))
			case 2:
				check("U32", uint64(r.U32()), number(take(4)))
			case 3:
				check("U64", r.U64(), number(take(8)))
			case 4:
				n := int(int8(op)) * i
				if got, want := r.Bytes(n), take(n); !bytes.Equal(got, want) {
					t.Fatalf("Bytes(%d): got %q, want %q", n, got, want)
				}
			case 5:
				left := len(in) - at
				if failed {
					left = 0
				}
				if r.Len() != left {
					t.Fatalf("Len: got %d, want %d", r.Len(), left)
				}
			}
			if (r.Err() != nil) != failed {
				t.Fatalf("Err is %v at offset %d of %d", r.Err(), at, len(in))
			}
		}
	})
}

// number reads b as one big-endian number, the slow way.
func number(b []byte) uint64 {
	var padded [8]byte
	copy(padded[8-len(b):], b)
	return binary.BigEndian.Uint64(padded[:])
}

func BenchmarkReader(b *testing.B) {
	in := make([]byte, 32)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		r := NewReader(in)
		r.U8()
		r.U16()
		r.U32()
		r.U64()
		r.Bytes(17)
		if err := r.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}
