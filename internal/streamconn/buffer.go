package streamconn

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	// readBufferMin is the size of a read buffer; one for a larger frame is a
	// power of two.
	readBufferMin      = 1 << readBufferMinShift
	readBufferMinShift = 20

	// readBufferClasses is how many sizes of buffer are kept for use again, from
	// readBufferMin on; the largest is far over what a broker's chunk needs.
	readBufferClasses = 6
)

// readBuffer is memory that the socket is read into and that chunks alias.
// Whoever holds slices of it holds a reference; the last to release it gives it
// back to its pool.
type readBuffer struct {
	bytes []byte
	refs  atomic.Int32
	pool  *sync.Pool
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
		b.pool.Put(b)
	}
}

// bufferPool keeps the read buffers of one connection, by size.
type bufferPool struct {
	free [readBufferClasses]sync.Pool
}

// get returns a buffer of at least size bytes, with one reference.
func (p *bufferPool) get(size int) *readBuffer {
	class := max(0, bits.Len(uint(size-1))-readBufferMinShift)
	if class >= readBufferClasses {
		return newReadBuffer(size)
	}
	if b, ok := p.free[class].Get().(*readBuffer); ok {
		b.refs.Store(1)
		return b
	}
	b := newReadBuffer(readBufferMin << class)
	b.pool = &p.free[class]
	return b
}
