package streamproto

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/amqp10"
)

// conversations are the recorded ones, in testdata.
var conversations = []string{"conversation-3.10", "conversation-4.3"}

// step is one line of a recorded conversation: a frame.
type step struct {
	from  string // "C" or "S"
	bytes []byte
}

func readConversation(t testing.TB, name string) []step {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		from, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step{from, b})
	}
	return steps
}

// TestConversations reads the recorded conversations, compares them with their
// readable form, and writes every frame again. With -update it writes the readable
// form.
func TestConversations(t *testing.T) {
	for _, name := range conversations {
		t.Run(name, func(t *testing.T) {
			golden := "testdata/" + name + ".txt"
			var out strings.Builder
			for i, s := range readConversation(t, name) {
				f := frameOf(t, s.bytes)
				text, back := describe(t, f, s.from == "S")
				fmt.Fprintf(&out, "%s %s\n", s.from, text)
				if s.from == "S" && f.IsResponse() && !f.Response {
					back[4] &^= 0x80 // Route and Partitions, as 3.10 answers them
				}
				if !bytes.Equal(back, s.bytes) {
					t.Errorf("step %d, %s\ngot  % x\nwant % x", i, text, back, s.bytes)
				}
			}
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			got, wanted := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
			for i := range max(len(got), len(wanted)) {
				if i >= len(got) || i >= len(wanted) || got[i] != wanted[i] {
					t.Fatalf("line %d of %s differs\ngot  %q\nwant %q", i+1, golden, got[min(i, len(got)):], wanted[min(i, len(wanted)):])
				}
			}
		})
	}
}

// describe returns a frame as text, and the bytes that it is written as.
func describe(t *testing.T, f Frame, fromServer bool) (text string, back []byte) {
	t.Helper()
	var v any
	var err error
	switch f.Key {
	case KeyHeartbeat:
		return "Heartbeat", AppendHeartbeat(nil)
	case KeyPublish:
		return describePublish(t, f)
	case KeyDeliver:
		return describeDeliver(t, f)
	case KeyPublishConfirm:
		publisherID, ids, err := ParsePublishConfirm(f)
		if err != nil {
			t.Fatal(err)
		}
		var all []uint64
		for i := range ids.Len() {
			all = append(all, ids.At(i))
		}
		return fmt.Sprintf("PublishConfirm publisher %d: %d", publisherID, all), AppendPublishConfirm(nil, publisherID, all...)
	case KeyPublishError:
		publisherID, errs, err := ParsePublishError(f)
		if err != nil {
			t.Fatal(err)
		}
		var all []uint64
		var code Code
		for i := range errs.Len() {
			var id uint64
			id, code = errs.At(i)
			all = append(all, id)
		}
		return fmt.Sprintf("PublishError publisher %d: %d %v", publisherID, all, code), AppendPublishError(nil, publisherID, code, all...)
	case KeyCredit:
		if f.Response {
			e, parseErr := ParseCreditError(f)
			v, err, back = e, parseErr, AppendCreditError(nil, e)
		} else {
			c, parseErr := ParseCredit(f)
			v, err, back = c, parseErr, AppendCredit(nil, c)
		}
	case KeyTune:
		tune, parseErr := ParseTune(f)
		v, err, back = tune, parseErr, AppendTune(nil, tune)
		if !f.Response {
			back = AppendTuneOffer(nil, tune)
		}
	case KeyStoreOffset:
		s, parseErr := ParseStoreOffset(f)
		if v, err = s, parseErr; err == nil {
			back, err = AppendStoreOffset(nil, &s)
		}
	case KeyMetadataUpdate:
		m, parseErr := ParseMetadataUpdate(f)
		if v, err = m, parseErr; err == nil {
			back, err = AppendMetadataUpdate(nil, &m)
		}
	default:
		return describeCall(t, f, fromServer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v %+v", f.Key, v), back
}

// describeCall is describe for requests and responses.
func describeCall(t *testing.T, f Frame, fromServer bool) (text string, back []byte) {
	t.Helper()
	var correlation uint32
	var v any
	var err error
	if f.Response || fromServer && f.IsResponse() {
		var r Response
		if correlation, r, err = ParseResponse(f); err == nil {
			v = r
			back, err = AppendResponse(nil, correlation, r)
		}
	} else {
		var r Request
		if correlation, r, err = ParseRequest(f); err == nil {
			v = r
			back, err = AppendRequest(nil, correlation, r)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s%+v", correlation, reflect.TypeOf(v).Elem().Name(), reflect.ValueOf(v).Elem()), back
}

func describePublish(t *testing.T, f Frame) (text string, back []byte) {
	t.Helper()
	publisherID, entries, r, err := ParsePublish(f)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Sprintf("Publish version %d publisher %d: %d entries", f.Version, publisherID, entries)
	back = BeginPublish(nil, f.Version, publisherID)
	for {
		id, filter, e, ok := r.Next()
		if !ok {
			break
		}
		if f.Version == 2 {
			text += fmt.Sprintf("\n  id %d filter %q: %s", id, filter, describeEntry(t, e))
			if back, err = BeginFilteredEntry(back, id, filter); err != nil {
				t.Fatal(err)
			}
			message := len(back)
			back = append(back, e.Data...)
			EndEntry(back, message)
			continue
		}
		text += fmt.Sprintf("\n  id %d: %s", id, describeEntry(t, e))
		back = appendEntryAgain(t, back, id, e)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	EndPublish(back, 0, entries)
	return text, back
}

// appendEntryAgain writes an entry of version 1 as a publisher would.
func appendEntryAgain(t *testing.T, b []byte, id uint64, e Entry) []byte {
	t.Helper()
	if !e.Batched {
		if body, ok := amqp10.Data(e.Data); ok {
			return AppendDataEntry(b, id, body)
		}
		b = BeginEntry(b, id)
		message := len(b)
		b = append(b, e.Data...)
		EndEntry(b, message)
		return b
	}
	if e.Compression != 0 {
		return AppendBatch(b, id, e.Compression, e.Count, e.UncompressedSize, e.Data)
	}
	start := len(b)
	b = BeginBatch(b)
	for message, rest, ok := NextBatched(e.Data); ok; message, rest, ok = NextBatched(rest) {
		body, isData := amqp10.Data(message)
		if !isData {
			t.Fatalf("%q in a batch", message)
		}
		b = AppendBatchedData(b, body)
	}
	EndBatch(b, start, id, e.Count)
	return b
}

func describeDeliver(t *testing.T, f Frame) (text string, back []byte) {
	t.Helper()
	c, err := ParseDeliver(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	header := c
	header.Data = nil
	text = fmt.Sprintf("Deliver version %d %+v", f.Version, header)
	r := c.Reader()
	for {
		e, ok := r.Next()
		if !ok {
			break
		}
		text += "\n  " + describeEntry(t, e)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	c.CRC = 0
	return text, AppendDeliver(nil, f.Version, &c)
}

func describeEntry(t *testing.T, e Entry) string {
	t.Helper()
	switch {
	case !e.Batched:
		return describeMessage(t, e.Data)
	case e.Compression != 0:
		return fmt.Sprintf("batch of %d, compression %d, %d bytes of %d", e.Count, e.Compression, len(e.Data), e.UncompressedSize)
	}
	text := fmt.Sprintf("batch of %d, %d bytes", e.Count, e.UncompressedSize)
	for message, rest, ok := NextBatched(e.Data); ok; message, rest, ok = NextBatched(rest) {
		text += "\n    " + describeMessage(t, message)
	}
	return text
}

// describeMessage returns a message as text, and checks that it stays the same when it
// is written again.
func describeMessage(t *testing.T, b []byte) string {
	t.Helper()
	var m, again amqp10.Message
	if err := amqp10.ParseMessage(b, &m); err != nil {
		t.Fatalf("%v in %q", err, b)
	}
	m.More = false // which is not written
	back, err := amqp10.AppendMessage(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	if err := amqp10.ParseMessage(back, &again); err != nil || !reflect.DeepEqual(again, m) {
		t.Errorf("%q came back as %+v, %v", b, again, err)
	}
	var text []string
	v := reflect.ValueOf(m)
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case name == "Body":
			text = append(text, fmt.Sprintf("Body:%q", field.Bytes()))
		case field.IsZero():
		case field.Kind() == reflect.Pointer:
			text = append(text, fmt.Sprintf("%s:%v", name, field.Elem()))
		default:
			text = append(text, fmt.Sprintf("%s:%#v", name, field))
		}
	}
	return strings.ReplaceAll(strings.Join(text, " "), "amqp10.", "")
}
