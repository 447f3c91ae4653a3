package amqp10

import (
	"bytes"
	"testing"
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

// TestData compares Data with ParseMessage.
func TestData(t *testing.T) {
	for _, size := range sizesOfBodies {
		body := bodyOf(size)
		message, found := bytes.CutPrefix(AppendData([]byte("before"), body), []byte("before"))
		if !found || len(message) != DataSize(size) {
			t.Fatalf("%d bytes: the message has %d bytes, want %d; what dst held is there: %v", size, len(message), DataSize(size), found)
		}
		got, ok := Data(message)
		var m Message
		if err := ParseMessage(message, &m); err != nil || !ok || !bytes.Equal(got, body) || !bytes.Equal(m.Body, body) {
			t.Errorf("%d bytes: got %.20q, %v and %.20q, %v", size, got, ok, m.Body, err)
		}
		for _, other := range [][]byte{message[:len(message)-1], append(bytes.Clone(message), 0), append([]byte("\x00\x53\x73\x45"), message...)} {
			if got, ok := Data(other); ok {
				t.Errorf("%d bytes: %.20q read as %.20q", size, other, got)
			}
		}
	}
	// A length of 32 bits where 8 would do, as some clients write.
	if got, ok := Data([]byte("\x00\x53\x75\xb0\x00\x00\x00\x02hi")); !ok || string(got) != "hi" {
		t.Errorf("got %q, %v", got, ok)
	}
	for size := range dataLongHeader {
		if got, ok := Data([]byte("\x00\x53\x75\xb0\x00\x00\x00\x00")[:size]); ok {
			t.Errorf("%d bytes read as %q", size, got)
		}
	}
}
