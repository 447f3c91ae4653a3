package streamproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/amqp10"
)

// sizesOfBodies are those at which the encoding changes, and some around.
var sizesOfBodies = []int{0, 1, 14, 254, 255, 256, 257, 4096, 70_000}

func bodyOf(size int) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i*7 + size)
	}
	return body
}

// TestPublishLayout compares a frame with one written by hand.
func TestPublishLayout(t *testing.T) {
	b := BeginPublish([]byte("before"), 1, 9)
	b = AppendDataEntry(b, 0x0102030405060708, []byte("ab"))
	b = BeginEntry(b, 2)
	message := len(b)
	b = append(b, "raw"...)
	EndEntry(b, message)
	batch := len(b)
	b = BeginBatch(b)
	b = AppendBatchedData(b, []byte("c"))
	b = BeginBatched(b)
	message = len(b)
	b = append(b, "d"...)
	EndBatched(b, message)
	EndBatch(b, batch, 3, 2)
	b = AppendBatch(b, 4, 4, 65535, 0x01020304, []byte("zz"))
	EndPublish(b, len("before"), 4)
	want := "before" +
		"\x00\x00\x00\x62\x00\x02\x00\x01\x09\x00\x00\x00\x04" +
		"\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x07\x00\x53\x75\xa0\x02ab" +
		"\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x03raw" +
		"\x00\x00\x00\x00\x00\x00\x00\x03\x80\x00\x02\x00\x00\x00\x0f\x00\x00\x00\x0f" +
		"\x00\x00\x00\x06\x00\x53\x75\xa0\x01c" + "\x00\x00\x00\x01d" +
		"\x00\x00\x00\x00\x00\x00\x00\x04\xc0\xff\xff\x01\x02\x03\x04\x00\x00\x00\x02zz"
	if string(b) != want {
		t.Errorf("got  % x\nwant % x", b, want)
	}

	b = BeginPublish(nil, 2, 9)
	b, err := BeginFilteredEntry(b, 5, "north")
	if err != nil {
		t.Fatal(err)
	}
	message = len(b)
	b = amqp10.AppendData(b, []byte("e"))
	EndEntry(b, message)
	b, err = BeginFilteredEntry(b, 6, "")
	if err != nil {
		t.Fatal(err)
	}
	EndEntry(b, len(b))
	EndPublish(b, 0, 2)
	want = "\x00\x00\x00\x30\x00\x02\x00\x02\x09\x00\x00\x00\x02" +
		"\x00\x00\x00\x00\x00\x00\x00\x05\x00\x05north\x00\x00\x00\x06\x00\x53\x75\xa0\x01e" +
		"\x00\x00\x00\x00\x00\x00\x00\x06\xff\xff\x00\x00\x00\x00"
	if string(b) != want {
		t.Errorf("got  % x\nwant % x", b, want)
	}
}

// TestSizes compares the functions that say sizes with those that append, with and
// without room.
func TestSizes(t *testing.T) {
	for _, size := range sizesOfBodies {
		body := bodyOf(size)
		for _, room := range []int{0, 2 * size, 100_000} {
			before := func() []byte { return append(make([]byte, 0, 6+room), "before"...) }
			entry := AppendDataEntry(before(), 77, body)
			batched := AppendBatchedData(before(), body)
			data := amqp10.AppendData(before(), body)
			for _, b := range [][]byte{entry, batched, data} {
				if !bytes.HasPrefix(b, []byte("before")) {
					t.Fatalf("%d bytes: what dst held was changed: %.20q", size, b)
				}
			}
			if got := len(batched) - 6; got != BatchedDataSize(size) {
				t.Errorf("BatchedDataSize(%d): got %d, want %d", size, BatchedDataSize(size), got)
			}
			if got := len(data) - 6; got != amqp10.DataSize(size) {
				t.Errorf("DataSize(%d): got %d, want %d", size, amqp10.DataSize(size), got)
			}
			if message, rest, ok := NextBatched(batched[6:]); !ok || len(rest) != 0 || !bytes.Equal(message, data[6:]) {
				t.Errorf("%d bytes: the batched message is %.20q", size, message)
			}
			if got := len(entry) - 6; got != DataEntrySize(size) {
				t.Errorf("DataEntrySize(%d): got %d, want %d", size, DataEntrySize(size), got)
			}
			if id, n := binary.BigEndian.Uint64(entry[6:]), binary.BigEndian.Uint32(entry[14:]); id != 77 || int(n) != amqp10.DataSize(size) {
				t.Errorf("%d bytes: the entry has id %d and size %d", size, id, n)
			}
			if got, ok := amqp10.Data(entry[18:]); !ok || !bytes.Equal(got, body) {
				t.Errorf("%d bytes: the entry's message is %.20q", size, entry[18:])
			}
		}
	}
	if got, want := len(BeginBatch(nil)), 8+BatchHeaderSize; got != want {
		t.Errorf("BatchHeaderSize is %d, want %d", want-8, got-8)
	}
}

func TestBatchPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"no message":        func() { EndBatch(BeginBatch(nil), 0, 1, 0) },
		"too many messages": func() { EndBatch(BeginBatch(nil), 0, 1, BatchCountMax+1) },
		"compression 8":     func() { AppendBatch(nil, 1, 8, 1, 4, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// readPublish returns the entries of a frame as text.
func readPublish(f Frame) (text []string, err error) {
	publisherID, entries, r, err := ParsePublish(f)
	if err != nil {
		return nil, err
	}
	text = append(text, fmt.Sprintf("publisher %d, %d entries", publisherID, entries))
	for {
		id, filter, e, ok := r.Next()
		if !ok {
			return text, r.Err()
		}
		text = append(text, fmt.Sprintf("%d %q %v %d %d %d %q", id, filter, e.Batched, e.Compression, e.Count, e.UncompressedSize, e.Data))
	}
}

func publishFrame(t testing.TB, version uint16) []byte {
	t.Helper()
	b := BeginPublish(nil, version, 9)
	if version == 2 {
		for i, filter := range []string{"north", ""} {
			var err error
			if b, err = BeginFilteredEntry(b, uint64(i), filter); err != nil {
				t.Fatal(err)
			}
			message := len(b)
			b = append(b, "message"...)
			EndEntry(b, message)
		}
		EndPublish(b, 0, 2)
		return b
	}
	b = AppendDataEntry(b, 1, []byte("a"))
	b = AppendBatch(b, 2, 3, 500, 6000, []byte("packed"))
	b = AppendDataEntry(b, 3, nil)
	EndPublish(b, 0, 3)
	return b
}

func TestParsePublish(t *testing.T) {
	tests := []struct {
		version uint16
		want    []string
	}{
		{1, []string{
			"publisher 9, 3 entries",
			`1 "" false 0 1 0 "\x00Su\xa0\x01a"`,
			`2 "" true 3 500 6000 "packed"`,
			`3 "" false 0 1 0 "\x00Su\xa0\x00"`,
		}},
		{2, []string{"publisher 9, 2 entries", `0 "north" false 0 1 0 "message"`, `1 "" false 0 1 0 "message"`}},
	}
	for _, test := range tests {
		f := frameOf(t, publishFrame(t, test.version))
		got, err := readPublish(f)
		if err != nil || strings.Join(got, "\n") != strings.Join(test.want, "\n") {
			t.Errorf("version %d: got %q, %v", test.version, got, err)
		}
		for size := range f.Body {
			cut := f
			cut.Body = f.Body[:size]
			if got, err := readPublish(cut); !isShort(err) {
				t.Errorf("version %d cut to %d bytes: got %q, %v", test.version, size, got, err)
			}
		}
		f.Body = append(bytes.Clone(f.Body), 0)
		if got, err := readPublish(f); err == nil {
			t.Errorf("version %d with a byte after it: got %q", test.version, got)
		}
	}
}

func TestParsePublishErrors(t *testing.T) {
	var unexpectedErr *UnexpectedFrameError
	for _, f := range []Frame{{KeyPublish, false, 3, nil}, {KeyPublish, true, 1, nil}, {KeyDeliver, false, 1, nil}} {
		if _, err := readPublish(f); !errors.As(err, &unexpectedErr) {
			t.Errorf("%+v: got %v", f, err)
		}
	}
	// A batch with a filter value, and a number of entries that can't be.
	batch := "\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\x80\x00\x01\x00\x00\x00\x05\x00\x00\x00\x05\x00\x00\x00\x01x"
	if _, err := readPublish(Frame{KeyPublish, false, 2, []byte(batch)}); !errors.Is(err, errFilteredBatch) {
		t.Errorf("a batch in version 2: got %v", err)
	}
	if _, err := readPublish(Frame{KeyPublish, false, 1, []byte("\x09\xff\xff\xff\xff" + batch[5:])}); !isShort(err) {
		t.Errorf("2^32-1 entries: got %v", err)
	}
}
