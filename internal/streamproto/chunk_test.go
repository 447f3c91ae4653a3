package streamproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"strings"
	"testing"
)

// chunkOf makes a chunk of the entries that the bytes are.
func chunkOf(entries uint16, records uint32, data string) *Chunk {
	return &Chunk{
		SubscriptionID: 3, Entries: entries, Records: records, Timestamp: -5, Epoch: 7, FirstOffset: 1 << 40,
		TrailerLength: 43, BloomSize: 16, Data: []byte(data),
	}
}

const (
	simpleEntry = "\x00\x00\x00\x05first"
	batchEntry  = "\x80\x00\x02\x00\x00\x00\x0b\x00\x00\x00\x0b\x00\x00\x00\x02ab\x00\x00\x00\x01c"
	packedEntry = "\xa0\x00\x03\x00\x01\x00\x00\x00\x00\x00\x04snap"
)

// TestDeliverLayout compares a frame with one written by hand.
func TestDeliverLayout(t *testing.T) {
	header := "\x50\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xfb\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x00\x00\x01\x00\x00\x00\x00\x00" + string(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(simpleEntry)))) +
		"\x00\x00\x00\x09\x00\x00\x00\x2b\x10\x00\x00\x00"
	c := chunkOf(1, 1, simpleEntry)
	if got, want := AppendDeliver([]byte("x"), 1, c), "x\x00\x00\x00\x3e\x00\x08\x00\x01\x03"+header+simpleEntry; string(got) != want {
		t.Errorf("version 1: got  % x\nwant % x", got, want)
	}
	c.CommittedChunkID = 9
	if got, want := AppendDeliver([]byte("x"), 2, c), "x\x00\x00\x00\x46\x00\x08\x00\x02\x03\x00\x00\x00\x00\x00\x00\x00\x09"+header+simpleEntry; string(got) != want {
		t.Errorf("version 2: got  % x\nwant % x", got, want)
	}
}

func TestParseDeliver(t *testing.T) {
	for version := uint16(1); version <= 2; version++ {
		want := *chunkOf(3, 6, simpleEntry+batchEntry+packedEntry)
		if version == 2 {
			want.CommittedChunkID = 1 << 50
		}
		f := frameOf(t, AppendDeliver(nil, version, &want))
		want.CRC = crc32.ChecksumIEEE(want.Data)
		got, err := ParseDeliver(f)
		if err != nil || !reflect.DeepEqual(got, want) || cap(got.Data) != len(got.Data) {
			t.Fatalf("version %d: got %+v, %v\nwant %+v", version, got, err, want)
		}
		if err := got.CheckCRC(); err != nil {
			t.Errorf("version %d: %v", version, err)
		}
		var chunkErr *ChunkError
		for size := range f.Body {
			cut := f
			cut.Body = f.Body[:size]
			if _, err := ParseDeliver(cut); !errors.As(err, &chunkErr) {
				t.Errorf("version %d cut to %d bytes: got %v", version, size, err)
			}
		}
		for _, more := range []int{1, int(want.TrailerLength), 1 << 20} {
			long := f
			long.Body = append(bytes.Clone(f.Body), make([]byte, more)...)
			if _, err := ParseDeliver(long); !errors.As(err, &chunkErr) || !strings.Contains(err.Error(), fmt.Sprint(more, " bytes follow its data")) {
				t.Errorf("version %d with %d bytes more: got %v", version, more, err)
			}
		}
	}
}

func TestParseDeliverErrors(t *testing.T) {
	f := frameOf(t, AppendDeliver(nil, 1, chunkOf(1, 1, simpleEntry)))
	change := func(at int, v byte) Frame {
		changed := f
		changed.Body = bytes.Clone(f.Body)
		changed.Body[at] = v
		return changed
	}
	tests := []struct {
		name string
		f    Frame
		want string
	}{
		{"magic 4", change(1, 0x40), "chunk at offset 1099511627776: it begins with 64, not magic 5 and version 0"},
		{"version 1", change(1, 0x51), "chunk at offset 1099511627776: it begins with 81, not magic 5 and version 0"},
		{"4 GiB of data", change(1+36, 0xFF), "chunk at offset 1099511627776: its data is cut short"},
		{"no header", Frame{KeyDeliver, false, 1, f.Body[:48]}, "chunk at offset 0: its header is cut short"},
		{"version 3 of the command", Frame{KeyDeliver, false, 3, f.Body}, "unexpected frame: Deliver, version 3"},
		{"a response", Frame{KeyDeliver, true, 1, f.Body}, "unexpected frame: Deliver response, version 1"},
		{"another command", Frame{KeyPublish, false, 1, f.Body}, "unexpected frame: Publish, version 1"},
	}
	for _, test := range tests {
		if _, err := ParseDeliver(test.f); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
	c, err := ParseDeliver(change(1+48+4, 'F'))
	if err != nil {
		t.Fatal(err)
	}
	var crcErr *CRCError
	if err := c.CheckCRC(); !errors.As(err, &crcErr) || crcErr.FirstOffset != 1<<40 || crcErr.Header != c.CRC || crcErr.Got == c.CRC {
		t.Errorf("a byte of the data changed: got %v", err)
	}
}

func TestEntries(t *testing.T) {
	c := chunkOf(3, 6, simpleEntry+batchEntry+packedEntry)
	r := c.Reader()
	var got []Entry
	for {
		e, ok := r.Next()
		if !ok {
			break
		}
		got = append(got, e)
	}
	want := []Entry{
		{Count: 1, Data: []byte("first")},
		{Batched: true, Count: 2, UncompressedSize: 11, Data: []byte("\x00\x00\x00\x02ab\x00\x00\x00\x01c")},
		{Batched: true, Compression: 2, Count: 3, UncompressedSize: 65536, Data: []byte("snap")},
	}
	if err := r.Err(); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
	if _, ok := r.Next(); ok || r.Err() != nil {
		t.Errorf("after the end: %v, %v", ok, r.Err())
	}
	var messages []string
	rest := got[1].Data
	for {
		message, next, ok := NextBatched(rest)
		if rest = next; !ok {
			break
		}
		messages = append(messages, string(message))
		if cap(message) != len(message) {
			t.Error("an append to a message would write into the next")
		}
	}
	if len(rest) != 0 || strings.Join(messages, ",") != "ab,c" {
		t.Errorf("the batch has %q, and %q is left", messages, rest)
	}
}

// TestEntryErrors reads chunks whose entries are not what the header says.
func TestEntryErrors(t *testing.T) {
	all := simpleEntry + batchEntry
	tests := []struct {
		name    string
		c       *Chunk
		entries int // read before the error
		want    string
	}{
		{"a byte left", chunkOf(2, 3, all+"x"), 2, "1 bytes follow its entries"},
		{"an entry left", chunkOf(1, 3, all), 1, "22 bytes follow its entries"},
		{"an entry too few", chunkOf(3, 3, all), 2, "an entry is cut short"},
		{"cut in a message", chunkOf(1, 1, simpleEntry[:8]), 0, "an entry is cut short"},
		{"cut in a size", chunkOf(1, 1, simpleEntry[:3]), 0, "an entry is cut short"},
		{"cut in a batch", chunkOf(2, 3, all[:len(all)-1]), 1, "an entry is cut short"},
		{"cut in a batch's header", chunkOf(1, 2, batchEntry[:10]), 0, "an entry is cut short"},
		{"a message of 2 GiB", chunkOf(1, 1, "\x7f\xff\xff\xffx"), 0, "an entry is cut short"},
		{"a batch of 4 GiB", chunkOf(1, 1, "\x80\x00\x01\x00\x00\x00\x00\xff\xff\xff\xffx"), 0, "an entry is cut short"},
		{"more records", chunkOf(2, 4, all), 2, "its header says 4 messages, its entries have 3"},
		{"fewer records", chunkOf(2, 2, all), 2, "its header says 2 messages, its entries have 3"},
		{"none of its records", chunkOf(0, math.MaxUint32, ""), 0, "its header says 4294967295 messages, its entries have 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := test.c.Reader()
			entries := 0
			for {
				if _, ok := r.Next(); !ok {
					break
				}
				entries++
			}
			if entries != test.entries {
				t.Errorf("read %d entries, want %d", entries, test.entries)
			}
			var chunkErr *ChunkError
			if err := r.Err(); !errors.As(err, &chunkErr) || chunkErr.FirstOffset != 1<<40 || chunkErr.Problem != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	r := chunkOf(0, 0, "").Reader()
	if _, ok := r.Next(); ok || r.Err() != nil {
		t.Errorf("a chunk without entries: %v", r.Err())
	}
}

func TestNextBatchedCutAnywhere(t *testing.T) {
	whole := "\x00\x00\x00\x03abc"
	for size := range whole {
		in := []byte(whole[:size])
		if message, rest, ok := NextBatched(in); ok || message != nil || len(rest) != size {
			t.Errorf("cut to %d bytes: got %q, %q", size, message, rest)
		}
	}
	if _, rest, ok := NextBatched([]byte("\xff\xff\xff\xffabc")); ok || len(rest) != 7 {
		t.Error("a message of 4 GiB was read")
	}
	if message, rest, ok := NextBatched([]byte("\x00\x00\x00\x00abc")); !ok || len(message) != 0 || string(rest) != "abc" {
		t.Errorf("an empty message: got %q, %q, %v", message, rest, ok)
	}
}
