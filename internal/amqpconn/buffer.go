package amqpconn

import (
	"sync"
	"sync/atomic"
)

const (
	// aliasMax is the largest content, in bytes from the start of its method
	// frame, that is handed over as slices of the read buffer. A larger one is
	// put together in memory of its own: it comes in several frames anyway.
	aliasMax = 64 << 10

	// readBufferMin is the size of a read buffer: room for a large read behind
	// the largest content that is still incomplete.
	readBufferMin = 256 << 10
)

// readBuffer is memory that the socket is read into and that deliveries alias.
// Whoever holds slices of it holds a reference; the last to release it gives it
// back to its pool.
type readBuffer struct {
	bytes []byte
	refs  atomic.Int32
	pool  *bufferPool
}

// readBufferSize holds at least two of the largest frames.
func readBufferSize(frameMax uint32) int {
	return max(readBufferMin, 2*int(frameMax))
}

func newReadBuffer(size int) *readBuffer {
	b := &readBuffer{bytes: make([]byte, size)}
	b.refs.Store(1)
	return b
}

func (b *readBuffer) retain() { b.refs.Add(1) }

// release gives up one reference; the bytes must not be touched afterwards.
func (b *readBuffer) release() {
	if b.refs.Add(-1) == 0 && b.pool != nil {
		b.pool.free.Put(b)
	}
}

// bufferPool keeps the read buffers of one connection.
type bufferPool struct {
	size int
	free sync.Pool
}

// get returns a buffer with one reference.
func (p *bufferPool) get() *readBuffer {
	if b, ok := p.free.Get().(*readBuffer); ok {
		b.refs.Store(1)
		return b
	}
	b := newReadBuffer(p.size)
	b.pool = p
	return b
}
