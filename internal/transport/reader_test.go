package transport

import (
	"bytes"
	"testing"
)

// sizes is a reader whose peer is a test: what its buffers are like.
type sizes struct {
	*testing.T
	reader
	content []byte // that was read and is not used
}

func newSizes(t *testing.T) *sizes {
	conn := &Conn{settings: Settings{ReadBuffer: 256 << 10, ReadLeast: 64 << 10}}
	conn.buffers.size = conn.settings.firstBuffer()
	return &sizes{T: t, reader: reader{conn: conn, buf: NewBuffer(conn.buffers.size), size: conn.buffers.size}}
}

// read reads up to n bytes, of which used are handled, after idling or not.
func (s *sizes) read(n, used int, idle bool) {
	s.Helper()
	n = min(n, s.readEnd()-s.end)
	if n == 0 {
		s.Fatal("no room to read into")
	}
	for i := range n {
		s.buf.Bytes[s.end+i] = byte(len(s.content) + i)
		s.content = append(s.content, s.buf.Bytes[s.end+i])
	}
	s.end += n
	s.noteFull(n)
	used = min(used, len(s.content))
	s.start, s.content = s.start+used, s.content[used:]
	s.idle = idle
	s.makeRoom()
	if !bytes.Equal(s.buf.Bytes[s.start:s.end], s.content) {
		s.Fatal("what is not used yet is not what was read")
	}
}

func (s *sizes) want(size int) {
	s.Helper()
	if got := len(s.buf.Bytes); got != size {
		s.Errorf("the buffer has %d bytes, want %d", got, size)
	}
}

// TestBufferSize: a connection has a small buffer, which grows as reads fill it, and is small
// again after a time without any.
func TestBufferSize(t *testing.T) {
	s := newSizes(t)
	s.want(4 << 10)
	for range 10 { // little comes
		s.read(1000, 1000, false)
	}
	s.want(4 << 10)
	for _, size := range []int{16 << 10, 64 << 10, 256 << 10, 256 << 10} {
		s.read(1<<20, 1<<20, false)
		s.want(size)
	}
	s.read(100, 100, false)
	s.want(256 << 10)
	s.read(8, 8, true)
	s.want(4 << 10)
}

// TestBufferKeepsRest: whatever is left of a frame that is not complete has room, and more
// behind it, also after a time without reads, and where somebody has the buffer.
func TestBufferKeepsRest(t *testing.T) {
	for _, held := range []bool{false, true} {
		s := newSizes(t)
		for len(s.content) < 130_000 { // as much as the largest frame
			if held {
				s.buf.Retain()
			}
			s.read(700, 0, len(s.content) > 100_000)
		}
		s.want(256 << 10)
		s.read(700, 1<<20, true)
		s.want(4 << 10)
	}
}
