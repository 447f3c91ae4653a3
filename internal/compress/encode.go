package compress

import (
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Encoders are large (a zstd encoder has megabytes of tables), so they are reused.
//
//nolint:gochecknoglobals // pools have no state that anyone sees
var (
	gzipWriters   = sync.Pool{New: func() any { return &encoder{w: gzip.NewWriter(nil)} }}
	snappyWriters = sync.Pool{New: func() any { return &encoder{w: newSnappyWriter()} }}
	lz4Writers    = sync.Pool{New: func() any { return &encoder{w: newLZ4Writer()} }}
	zstdWriters   = sync.Pool{New: func() any { return newZstdEncoder() }}
)

// resetWriter is what the libraries' writers have in common.
type resetWriter interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// encoder is a writer and the slice to which it writes.
type encoder struct {
	w   resetWriter
	out []byte
}

// Write appends p to the slice.
func (e *encoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

// Compress compresses src and appends the result to dst. It keeps neither. The error is
// *UnknownError, and leaves dst unchanged. Compress is safe for concurrent use.
func Compress(dst []byte, c Codec, src []byte) ([]byte, error) {
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return encode(&gzipWriters, dst, c, src)
	case Snappy:
		return encode(&snappyWriters, dst, c, src)
	case LZ4:
		return encode(&lz4Writers, dst, c, src)
	case Zstd:
		e := zstdWriters.Get().(*zstd.Encoder)
		defer zstdWriters.Put(e)
		return e.EncodeAll(src, dst), nil
	}
	return dst, &UnknownError{c}
}

// encode compresses src with a writer from the pool.
func encode(pool *sync.Pool, dst []byte, c Codec, src []byte) ([]byte, error) {
	e := pool.Get().(*encoder)
	e.out = dst
	e.w.Reset(e)
	_, err := e.w.Write(src)
	if closeErr := e.w.Close(); err == nil {
		err = closeErr
	}
	out := e.out
	e.out = nil
	if err != nil {
		// Write never fails, so this is a fault of the library.
		return dst, named(c, err)
	}
	pool.Put(e)
	return out, nil
}

// newSnappyWriter makes a writer of snappy's framing format that starts no goroutines.
func newSnappyWriter() resetWriter {
	return s2.NewWriter(nil, s2.WriterSnappyCompat(), s2.WriterConcurrency(1))
}

// newLZ4Writer makes a writer of LZ4 frames. Larger blocks would gain nothing: a batch
// is hardly ever larger than one, and matches reach back 64 KiB at most.
func newLZ4Writer() resetWriter {
	w := lz4.NewWriter(nil)
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ConcurrencyOption(1)); err != nil {
		panic("compress: internal: " + err.Error())
	}
	return w
}

// newZstdEncoder makes an encoder for whole frames.
func newZstdEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("compress: internal: " + err.Error())
	}
	return e
}
