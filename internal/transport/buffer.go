package transport

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Buffer is memory that the socket is read into and that deliveries alias.
// Whoever holds slices of it holds a reference; the last to release it gives it
// back to its pool. Whoever never releases it keeps the bytes as they are: nothing is
// read over them, and the garbage collector has the buffer in the end.
type Buffer struct {
	Bytes []byte
	refs  atomic.Int32
	pool  *sync.Pool // nil: of none
}

// NewBuffer returns a buffer of size bytes with one reference, of no pool.
func NewBuffer(size int) *Buffer {
	b := &Buffer{Bytes: make([]byte, size)}
	b.refs.Store(1)
	return b
}

// Retain takes one more reference. Who calls it holds one already.
func (b *Buffer) Retain() { b.refs.Add(1) }

// Refs is how many hold a reference: 1 if nobody does but who asks, and 0 once the
// buffer is back in its pool.
func (b *Buffer) Refs() int { return int(b.refs.Load()) }

// Release gives up one reference; the bytes must not be touched afterwards.
func (b *Buffer) Release() {
	if b.refs.Add(-1) == 0 && b.pool != nil {
		b.pool.Put(b)
	}
}

const (
	// bufferClasses is how many sizes of buffer are kept for use again. The largest,
	// 32 times a full read buffer, is far over what a broker's chunk needs.
	bufferClasses = 12

	// firstPart is the part of a full read buffer that a connection begins with, and goes back
	// to when it is idle: most of many connections bring little.
	firstPart = 64
)

// firstBuffer is the size of that.
func (s *Settings) firstBuffer() int { return (s.ReadBuffer + firstPart - 1) / firstPart }

// bufferPool keeps the read buffers of one connection, by size: each class has
// buffers of twice the size of the one before.
type bufferPool struct {
	size int // of the smallest
	// free is apart: a pool that was used is held for two garbage collections more, and
	// would hold the connection.
	free *[bufferClasses]sync.Pool
}

// largest is the size of the largest buffer that is kept for use again.
func (p *bufferPool) largest() int { return p.size << (bufferClasses - 1) }

// oversize reports whether a buffer is too large to be kept for use again.
func (p *bufferPool) oversize(b *Buffer) bool { return len(b.Bytes) > p.largest() }

// get returns a buffer of at least size bytes, with one reference.
func (p *bufferPool) get(size int) *Buffer {
	class := bits.Len(uint((size - 1) / p.size))
	if class >= bufferClasses {
		return NewBuffer(size)
	}
	if p.free == nil {
		p.free = new([bufferClasses]sync.Pool)
	}
	if b, ok := p.free[class].Get().(*Buffer); ok {
		b.refs.Store(1)
		return b
	}
	b := NewBuffer(p.size << class)
	b.pool = &p.free[class]
	return b
}
