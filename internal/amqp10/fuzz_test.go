package amqp10

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
)

// recordedMessages are messages as a broker delivered them.
func recordedMessages(t testing.TB) [][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/messages.hex")
	if err != nil {
		t.Fatal(err)
	}
	var messages [][]byte
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		message, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message)
	}
	return messages
}

func FuzzMessage(f *testing.F) {
	full := fullMessage()
	b, err := AppendMessage(nil, &full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("\x00\x53\x74" + nestedMap(valueDepthMax)))
	for _, message := range recordedMessages(f) {
		f.Add(message)
	}
	mutate.Fuzz(f, func(t *testing.T, in []byte) {
		var m, again Message
		var err error
		checkAllocation(t, 2*len(in), func() { err = ParseMessage(in, &m) })
		checkOutline(t, in, &m, err)
		checkAllocation(t, 2*len(in), func() { err = CheckBody(in) })
		if outline, outlineErr := ParseBody(in); err == nil && len(in) > 0 && outlineErr != nil {
			t.Fatalf("% x is a body of %v, %v", in, outline.Kind, outlineErr)
		}
		err = ParseMessage(in, &m)
		body, isData := Data(in)
		if isData && (err != nil || !bytes.Equal(body, m.Body) || m.BodyEncoded) {
			t.Fatalf("Data: %q, ParseMessage: %q, %v", body, m.Body, err)
		}
		if err != nil {
			return
		}
		first, err := AppendMessage(nil, &m)
		if err != nil {
			t.Fatalf("%+v can't be written: %v", m, err)
		}
		if err := ParseMessage(first, &again); err != nil {
			t.Fatalf("% x came back as % x, which does not read: %v", in, first, err)
		}
		if second, err := AppendMessage(nil, &again); err != nil || !bytes.Equal(second, first) {
			t.Fatalf("% x came back as % x, %v", first, second, err)
		}
	})
}

// checkOutline compares what ParseOutline and ParseMessage make of a message.
func checkOutline(t *testing.T, in []byte, m *Message, parseErr error) {
	t.Helper()
	var o Outline
	var err error
	checkAllocation(t, len(in), func() { o, err = ParseOutline(in) })
	if err != nil {
		if parseErr == nil && !errors.Is(err, errNoSections) {
			t.Fatalf("% x has no outline: %v", in, err)
		}
		return
	}
	o.TextAnnotations(func(_, _ []byte) {})
	if parseErr != nil { // of what the outline skips
		return
	}
	switch o.Kind {
	case BodyData:
		if m.BodyEncoded || !bytes.Equal(o.Body, m.Body) {
			t.Fatalf("outline %q, message %q", o.Body, m.Body)
		}
	case BodyString, BodyBinary:
		if !m.BodyEncoded || !bytes.HasSuffix(m.Body, o.Body) {
			t.Fatalf("outline %q, message %q", o.Body, m.Body)
		}
	default:
		if !m.BodyEncoded || !bytes.Equal(o.Body, m.Body) {
			t.Fatalf("outline %q, message %q", o.Body, m.Body)
		}
	}
	if body, err := ParseBody(m.Body); m.BodyEncoded && (err != nil || body.Kind != o.Kind || !bytes.Equal(body.Body, o.Body)) {
		t.Fatalf("the body alone is %v %q, %v", body.Kind, body.Body, err)
	}
}
