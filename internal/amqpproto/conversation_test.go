package amqpproto

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// step is one line of a recorded conversation: a frame, or the protocol header.
type step struct {
	from  string // "C" or "S"
	bytes []byte
}

func readConversation(t testing.TB) []step {
	t.Helper()
	data, err := os.ReadFile("testdata/conversation.hex")
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

// TestConversation reads a recorded conversation, compares it with its readable
// form, and writes every frame again. With -update it writes the readable form.
func TestConversation(t *testing.T) {
	const golden = "testdata/conversation.txt"
	var out strings.Builder
	for i, s := range readConversation(t) {
		if string(s.bytes) == ProtocolHeader {
			fmt.Fprintf(&out, "%s protocol header\n", s.from)
			continue
		}
		f, n, err := ParseFrame(s.bytes, 4096)
		if err != nil || n != len(s.bytes) {
			t.Fatalf("step %d: %d of %d bytes, %v", i, n, len(s.bytes), err)
		}
		text, back := describe(t, f)
		fmt.Fprintf(&out, "%s %d %s\n", s.from, f.Channel, text)
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
	if got := out.String(); got != string(want) {
		gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i := range min(len(gotLines), len(wantLines)) {
			if gotLines[i] != wantLines[i] {
				t.Fatalf("line %d of %s\ngot  %s\nwant %s", i+1, golden, gotLines[i], wantLines[i])
			}
		}
		t.Fatalf("got %d lines, %s has %d", len(gotLines), golden, len(wantLines))
	}
}

// describe returns a frame as text, and the bytes that it is written as.
func describe(t *testing.T, f Frame) (text string, back []byte) {
	t.Helper()
	switch f.Type {
	case FrameMethod:
		m, err := ParseMethod(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		back, _ = mustFrame(t, f.Channel, m)
		return m.ID().String() + formatFields(reflect.ValueOf(m).Elem()), back
	case FrameHeader:
		h, err := ParseContentHeader(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseProperties(h.Properties)
		if err != nil {
			t.Fatal(err)
		}
		back = append(beginFrame(nil, f.Type, f.Channel), f.Payload[:12]...)
		if back, err = AppendProperties(back, &p); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("header of %d bytes%s", h.BodySize, formatFields(reflect.ValueOf(p))), endFrame(back, 0)
	case FrameBody:
		back = append(beginFrame(nil, f.Type, f.Channel), f.Payload...)
		return fmt.Sprintf("body of %d bytes %.20q", len(f.Payload), f.Payload), endFrame(back, 0)
	default:
		return "heartbeat", AppendHeartbeat(nil)
	}
}

// formatFields writes the fields of a struct that are not zero.
func formatFields(v reflect.Value) string {
	var out strings.Builder
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		switch {
		case !f.IsExported() || value.IsZero():
		case value.CanUint():
			fmt.Fprintf(&out, " %s=%d", f.Name, value.Uint())
		default:
			fmt.Fprintf(&out, " %s=%s", f.Name, formatValue(value.Interface()))
		}
	}
	return out.String()
}

// formatValue writes a value, with its type where there are several like it.
func formatValue(v any) string {
	var parts []string
	switch v := v.(type) {
	case Table:
		for _, f := range v {
			parts = append(parts, f.Key+": "+formatValue(f.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		for i := range v {
			parts = append(parts, formatValue(v[i]))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		return fmt.Sprintf("%q", v)
	case []byte:
		return fmt.Sprintf("bytes(% x)", v)
	case time.Time:
		return v.Format(time.RFC3339)
	case nil, bool:
		return fmt.Sprint(v)
	default:
		// The type matters: int32 and int64 are different bytes.
		return fmt.Sprintf("%T(%v)", v, v)
	}
}
