package streamproto

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/mutate"
)

// eachRecorded calls f with every frame of the recorded conversations.
func eachRecorded(t testing.TB, f func(frame []byte)) {
	t.Helper()
	for _, name := range conversations {
		for _, s := range readConversation(t, name) {
			f(s.bytes)
		}
	}
}

func FuzzFrame(f *testing.F) {
	eachRecorded(f, func(frame []byte) { f.Add(frame, uint32(1<<20), uint32(1<<20)) })
	f.Add([]byte("\x00\x00\x00\x03"), uint32(0), uint32(0))
	f.Add([]byte("\xff\xff\xff\xff\x00\x08\x00\x01"), uint32(4096), uint32(0))
	mutate.Fuzz(f, func(t *testing.T, in []byte, limit, deliver uint32) {
		limits := Limits{Frame: limit, Deliver: deliver}
		var frame Frame
		var n int
		var err error
		checkAllocation(t, 0, func() { frame, n, err = ParseFrame(in, limits) })
		if err != nil || n == 0 || n > len(in) {
			if frame.Body != nil || err != nil && n != 0 {
				t.Fatalf("nothing was read, but got %+v, %d, %v", frame, n, err)
			}
			return
		}
		key := uint16(frame.Key)
		if frame.Response {
			key |= responseBit
		}
		back := append(beginFrame(nil, key, frame.Version), frame.Body...)
		if back = endFrame(back, 0); !bytes.Equal(back, in[:n]) {
			t.Fatalf("came back as % x", back)
		}
		fuzzCommands(t, frame)
		// From a part of it ParseFrame can tell how much is needed.
		for size := range n {
			_, got, err := ParseFrame(in[:size], limits)
			if err != nil || got != n && (size >= FrameHeaderSize || got != 0) {
				t.Fatalf("cut to %d bytes: %d, %v", size, got, err)
			}
		}
	})
}

// fuzzCommands reads a frame as each of the commands without a correlation id.
func fuzzCommands(t *testing.T, f Frame) {
	var back []byte
	var want bool
	if c, err := ParseCredit(f); err == nil {
		back, want = AppendCredit(nil, c), true
	}
	if e, err := ParseCreditError(f); err == nil {
		back, want = AppendCreditError(nil, e), true
	}
	if tune, err := ParseTune(f); err == nil {
		back, want = AppendTune(nil, tune), true
		if !f.Response {
			back = AppendTuneOffer(nil, tune)
		}
	}
	if publisherID, ids, err := ParsePublishConfirm(f); err == nil {
		var all []uint64
		for i := range ids.Len() {
			all = append(all, ids.At(i))
		}
		back, want = AppendPublishConfirm(nil, publisherID, all...), true
	}
	if want {
		if again := frameOf(t, back); !reflect.DeepEqual(again, f) {
			t.Fatalf("%+v came back as %+v", f, again)
		}
	}
	if _, errs, err := ParsePublishError(f); err == nil {
		for i := range errs.Len() {
			errs.At(i)
		}
	}
	if s, err := ParseStoreOffset(f); err == nil {
		b, err := AppendStoreOffset(nil, &s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseStoreOffset(frameOf(t, b)); err != nil || again != s {
			t.Fatalf("%+v came back as %+v, %v", s, again, err)
		}
	}
	if m, err := ParseMetadataUpdate(f); err == nil {
		b, err := AppendMetadataUpdate(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseMetadataUpdate(frameOf(t, b)); err != nil || again != m {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	}
	fuzzPublish(t, f)
}

// fuzzPublish reads a frame as a Publish and writes it again.
func fuzzPublish(t *testing.T, f Frame) {
	publisherID, entries, r, err := ParsePublish(f)
	if err != nil {
		return
	}
	b := BeginPublish(nil, f.Version, publisherID)
	wellFormed := true
	for {
		id, filter, e, ok := r.Next()
		if !ok {
			break
		}
		switch {
		case e.Batched && e.Count == 0:
			wellFormed = false // nobody writes such a batch
		case e.Batched:
			b = AppendBatch(b, id, e.Compression, e.Count, e.UncompressedSize, e.Data)
		default:
			if b = BeginEntry(b, id); f.Version == 2 {
				if b, err = BeginFilteredEntry(b[:len(b)-entryHeaderSize], id, filter); err != nil {
					t.Fatal(err)
				}
			}
			message := len(b)
			b = append(b, e.Data...)
			EndEntry(b, message)
		}
	}
	EndPublish(b, 0, entries)
	if r.Err() != nil || !wellFormed {
		return
	}
	// An unused bit of a batch, and an empty filter value, come back otherwise.
	if again := frameOf(t, b); len(again.Body) != len(f.Body) {
		t.Fatalf("%d bytes came back as %d", len(f.Body), len(again.Body))
	}
}

// fuzzCalls checks that a request or response that can be read comes back unchanged,
// or no longer changes once it has.
func fuzzCalls(t *testing.T, f Frame) {
	var first []byte
	var err error
	checkAllocation(t, 2*len(f.Body), func() { first, err = backAndForth(f) })
	if err != nil {
		return
	}
	second, err := backAndForth(frameOf(t, first))
	if err != nil || !bytes.Equal(second, first) {
		t.Fatalf("% x came back as % x, %v", first, second, err)
	}
	// What comes back changed is shorter or longer, except for a null string.
	if len(first) == FrameHeaderSize+len(f.Body) && !bytes.Contains(f.Body, []byte("\xff\xff")) && !bytes.Equal(first[FrameHeaderSize:], f.Body) {
		t.Fatalf("% x came back as % x", f.Body, first)
	}
}

// addCalls adds the recorded and the made frames of one direction.
func addCalls(f *testing.F, response bool) {
	add := func(b []byte) {
		if frame := frameOf(f, b); frame.Response == response {
			f.Add(uint16(frame.Key), frame.Body)
		}
	}
	eachRecorded(f, add)
	for _, b := range allCommands(f) {
		add(b)
	}
}

func FuzzRequest(f *testing.F) {
	addCalls(f, false)
	mutate.Fuzz(f, func(t *testing.T, key uint16, body []byte) {
		fuzzCalls(t, Frame{Key: Key(key), Version: 1, Body: body})
	})
}

func FuzzResponse(f *testing.F) {
	addCalls(f, true)
	mutate.Fuzz(f, func(t *testing.T, key uint16, body []byte) {
		fuzzCalls(t, Frame{Key: Key(key), Response: true, Version: 1, Body: body})
	})
}

// FuzzChunk reads a Deliver and its entries, and writes it again.
func FuzzChunk(f *testing.F) {
	eachRecorded(f, func(b []byte) {
		if frame := frameOf(f, b); frame.Key == KeyDeliver {
			f.Add(frame.Version, frame.Body)
		}
	})
	f.Add(uint16(1), frameOf(f, AppendDeliver(nil, 1, chunkOf(3, 6, simpleEntry+batchEntry+packedEntry))).Body)
	mutate.Fuzz(f, func(t *testing.T, version uint16, body []byte) {
		frame := Frame{Key: KeyDeliver, Version: version, Body: body}
		var c Chunk
		var err error
		checkAllocation(t, 0, func() { c, err = ParseDeliver(frame) })
		if err != nil {
			return
		}
		sum, entries, sound := uint64(0), 0, c.Records > uint32(c.Entries)
		r := c.Reader()
		for {
			e, ok := r.Next()
			if !ok {
				break
			}
			entries++
			sum += uint64(e.Count)
			if e.Batched && e.Compression == 0 {
				fuzzBatch(t, e.Data)
				sound = sound && CheckBatch(e.Data, e.Count) == nil
			}
		}
		if sound = sound && r.Err() == nil; c.BatchesSound() != sound {
			t.Fatalf("it is not %v that the batches of %+v are sound", !sound, c)
		}
		if r.Err() == nil && (entries != int(c.Entries) || sum != uint64(c.Records)) {
			t.Fatalf("%d entries and %d records were right for %+v", entries, sum, c)
		}
		c.CRC = max(c.CRC, 1)
		again, err := ParseDeliver(frameOf(t, AppendDeliver(nil, version, &c)))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v came back as %+v, %v", c, again, err)
		}
	})
}

// fuzzBatch reads a batch and writes what could be read of it again.
func fuzzBatch(t *testing.T, b []byte) {
	back := BeginBatch(nil)
	rest, count := b, 0
	alike, size := 0, 0 // messages that follow, of which sameSize says that they have this size
	for {
		body, taken := ShortBody(rest)
		if alike == 0 {
			alike, size = sameSize(rest, 3)
		}
		message, next, ok := NextBatched(rest)
		if !ok {
			if taken != 0 || alike != 0 {
				t.Fatalf("%d bytes of % x are a body, %d messages have the same size, and there is none", taken, rest, alike)
			}
			rest = next
			break
		}
		if len(rest)-len(next) != size || alike > 3 {
			t.Fatalf("a message of % x takes %d bytes, and %d of %d come", rest, len(rest)-len(next), alike, size)
		}
		alike--
		short, isData := amqp10.Data(message)
		if isShort := isData && message[3] == 0xa0; isShort != (taken != 0) || isShort && (taken != size || !bytes.Equal(body, short) || cap(body) != len(body)) {
			t.Fatalf("% x has the short body % x of %d bytes", rest, body, taken)
		}
		rest = next
		if body, isData := amqp10.Data(message); isData {
			back = AppendBatchedData(back, body)
			// A short body with a long length comes back with a short one.
			if amqp10.DataSize(len(body)) == len(message) && !bytes.HasSuffix(back, message) {
				t.Fatalf("%q came back as %q", message, back)
			}
			back = back[:len(back)-BatchedDataSize(len(body))]
		}
		back = BeginBatched(back)
		start := len(back)
		back = append(back, message...)
		EndBatched(back, start)
		count++
	}
	if back = back[idSize+BatchHeaderSize:]; !bytes.Equal(back, b[:len(b)-len(rest)]) {
		t.Fatalf("%d messages of % x came back as % x", count, b, back)
	}
	for _, n := range []int{max(count-1, 0), count, count + 1} {
		if err := CheckBatch(b, n); (err == nil) != (n == count && len(rest) == 0) {
			t.Fatalf("%d messages and %d bytes in a batch that says %d: %v", count, len(rest), n, err)
		}
	}
}

func FuzzSubEntries(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x00\x00\x02ab\x00\x00\x00\x01c"))
	f.Add([]byte("\x00\x00\x00\x06\x00\x53\x75\xa0\x01c\x00\x00\x00\x0a\x00\x53\x75\xb0\x00\x00\x00\x02hi"))
	f.Add([]byte("\xff\xff\xff\xffx"))
	mutate.Fuzz(f, fuzzBatch)
}

// FuzzBodies compares bodies that are appended together with the same ones, appended one by one.
func FuzzBodies(f *testing.F) {
	f.Add(bytes.Repeat([]byte("Message 1, and so on, "), 20), []byte{0, 1, 7, 8, 9, 14, 15, 16, 17, 127, 153, 154, 255}, uint64(9), uint32(5000))
	f.Add([]byte("Message 1"), []byte{9, 9, 9, 9, 8}, uint64(1)<<63, uint32(60))
	mutate.Fuzz(f, func(t *testing.T, text, sizes []byte, id uint64, room uint32) {
		bodies, most := mutate.Bodies(nil, text, sizes), int(room%10_000)
		before := []byte("before")
		entries, n := AppendDataEntries(bytes.Clone(before), id, bodies, most)
		var want []byte
		for i, body := range bodies[:n] {
			want = AppendDataEntry(want, id+uint64(i), body)
		}
		if rest, ok := bytes.CutPrefix(entries, before); !ok || !bytes.Equal(rest, want) || len(rest) > most {
			t.Fatalf("%d entries in %d bytes: % x, want % x", n, most, entries, want)
		}
		if n < len(bodies) && len(want)+DataEntrySize(len(bodies[n])) <= most {
			t.Fatalf("%d entries take %d of %d bytes, and there is one more", n, len(want), most)
		}
		for at := 0; at < len(want); at += EntrySize(want[at:]) {
			n--
		}
		if n != 0 {
			t.Fatalf("%d more entries were appended than there are", n)
		}
		batch, n := AppendBatchedBodies(bytes.Clone(before), bodies, most)
		want = want[:0]
		for _, body := range bodies[:n] {
			want = AppendBatchedData(want, body)
		}
		if rest, ok := bytes.CutPrefix(batch, before); !ok || !bytes.Equal(rest, want) || len(rest) > most {
			t.Fatalf("%d messages in %d bytes: % x, want % x", n, most, batch, want)
		}
		if n < len(bodies) && len(want)+BatchedDataSize(len(bodies[n])) <= most {
			t.Fatalf("%d messages take %d of %d bytes, and there is one more", n, len(want), most)
		}
	})
}
