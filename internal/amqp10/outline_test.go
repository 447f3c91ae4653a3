package amqp10

import (
	"fmt"
	"strings"
	"testing"
)

func TestOutline(t *testing.T) {
	const odd = "\x00\x53\x73\xc0\x03\x01\x40\x41" // properties of one field that has two
	data := "\x00\x53\x75\xa0\x01b"
	long := "\x00\x80\x00\x00\x00\x00\x00\x00\x00\x75\xb0\x00\x00\x00\x02lo"
	named := "\x00\xa3\x10amqp:data:binary\xa0\x01n"
	for _, test := range []struct {
		name, in, want string
		err            string
	}{
		{name: "nothing", in: "", want: "0 "},
		{name: "data", in: data, want: "0 b"},
		{name: "data, long forms", in: long, want: "0 lo"},
		{name: "data, by name", in: named, want: "0 n"},
		{name: "three data sections", in: data + data + data, want: "0 bbb"},
		{name: "no body", in: "\x00\x53\x70\x45", want: "0 "},
		{name: "a footer alone", in: "\x00\xa3\x0famqp:footer:map\xc1\x01\x00", want: "0 "},
		{name: "a string", in: "\x00\x53\x77\xa1\x02hi", want: "1 hi"},
		{name: "a long string", in: "\x00\x53\x77\xb1\x00\x00\x00\x02hi", want: "1 hi"},
		{name: "a binary", in: "\x00\x53\x77\xa0\x02hi", want: "2 hi"},
		{name: "a symbol", in: "\x00\x53\x77\xa3\x02hi", want: "3 \x00\x53\x77\xa3\x02hi"},
		{name: "null", in: "\x00\x53\x77\x40", want: "3 \x00\x53\x77\x40"},
		{name: "two sequences", in: "\x00\x53\x76\x45\x00\x53\x76\x45", want: "4 \x00\x53\x76\x45\x00\x53\x76\x45"},
		{name: "malformed properties", in: odd + data, want: "0 b"},
		{name: "an unknown section", in: "\x00\x53\x99\x40" + data, want: "0 b"},
		{name: "annotations", in: "\x00\x53\x72\xc1\x13\x08\xa3\x01a\xa1\x01x\x40\x41\xa3\x01n\x41\xa1\x01b\xa3\x01y" + data, want: "0 b a=x b=y"},
		{name: "annotations that end early", in: "\x00\x53\x72\xc1\x07\x04\xa3\x01a\xa1\x01x" + data, want: "0 b a=x"},

		{name: "text", in: "hello", err: "not a section"},
		{name: "a zero", in: "\x00", err: "too short"},
		{name: "unknown sections alone", in: "\x00\x53\x99\x40", err: "no section of a message"},
		{name: "data of another type", in: "\x00\x53\x75\xa1\x01b", err: "not allowed"},
		{name: "data cut short", in: data[:5], err: "too short"},
		{name: "text after data", in: data + "hello", err: "not a section"},
		{name: "two values", in: "\x00\x53\x77\x40\x00\x53\x77\x40", err: "do not go together"},
		{name: "two strings", in: "\x00\x53\x77\xa1\x00\x00\x53\x77\xa1\x00", err: "do not go together"},
		{name: "data and a value", in: data + "\x00\x53\x77\x40", err: "do not go together"},
		{name: "a value that does not exist", in: "\x00\x53\x77\x01", err: "not allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := ParseOutline([]byte(test.in))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v %q, %v", o.Kind, o.Body, err)
				}
				return
			}
			got := fmt.Sprint(o.Kind, " ", string(o.Body))
			o.TextAnnotations(func(key, text []byte) { got += fmt.Sprintf(" %s=%s", key, text) })
			if err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			body, err := ParseBody([]byte(test.in))
			if encoded := o.Kind != BodyData; encoded != (err == nil) || encoded && string(body.Body) != string(o.Body) {
				t.Errorf("as a body: %v %q, %v", body.Kind, body.Body, err)
			}
		})
	}
}

// TestAppendBody reads what AppendBody wrote.
func TestAppendBody(t *testing.T) {
	for kind, bodies := range map[BodyKind][]string{
		BodyData: {"", "data"}, BodyString: {"", "hi", strings.Repeat("x", 300)}, BodyBinary: {"\xff", strings.Repeat("x", 300)},
		BodyValue: {"\x00\x53\x77\x40"}, BodySequence: {"\x00\x53\x76\x45\x00\x53\x76\x45"},
	} {
		for _, body := range bodies {
			o, err := ParseOutline(AppendBody(nil, kind, []byte(body)))
			if n := BodySize(kind, []byte(body)); n != len(AppendBody(nil, kind, []byte(body))) {
				t.Errorf("kind %d, %.10q: a size of %d", kind, body, n)
			}
			if err != nil || o.Kind != kind || string(o.Body) != body {
				t.Errorf("kind %d, %.10q: got kind %d, %.10q, %v", kind, body, o.Kind, o.Body, err)
			}
		}
	}
}

func TestOutlineAllocatesNothing(t *testing.T) {
	full := fullMessage()
	b, err := AppendMessage(nil, &full)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	if n := testing.AllocsPerRun(100, func() {
		o, err := ParseOutline(b)
		if err != nil || string(o.Body) != "body" {
			t.Fatalf("%q, %v", o.Body, err)
		}
		o.TextAnnotations(func(_, _ []byte) { found++ })
	}); n != 0 || found == 0 {
		t.Errorf("%v allocations, %d annotations", n, found)
	}
}
