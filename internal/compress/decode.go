package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// zstdWindowMax is the largest window, in bytes, that a zstd frame may ask for:
// what RFC 8878 wants a decoder to have, and an encoder to stay within.
const zstdWindowMax = 8 << 20

// firstRead is how many bytes the output is made ready for at once, whatever
// size was claimed; more room is made as it fills.
const firstRead = 64 << 10

//nolint:gochecknoglobals // pools hold nothing that anybody could see
var (
	gzipReaders   = sync.Pool{New: func() any { return &decoder{r: new(gzip.Reader)} }}
	snappyReaders = sync.Pool{New: func() any { return &decoder{r: snappyReader{snappy.NewReader(nil)}} }}
	lz4Readers    = sync.Pool{New: func() any { return &decoder{r: newLZ4Reader()} }}
	zstdReaders   = sync.Pool{New: func() any { return &decoder{r: newZstdReader()} }}
)

// resetReader is what the libraries' readers have in common, or are made to.
type resetReader interface {
	io.Reader
	Reset(r io.Reader) error
}

// decoder is a reader with the source that it reads from.
type decoder struct {
	r    resetReader
	in   bytes.Reader
	more [1]byte // what comes behind the end, and should not
}

// Decompress appends what src is compressed from to dst, which has to be exactly
// size bytes, and keeps neither. It makes room for what comes out, not for what
// size claims, and stops where more than size would. The errors are *SizeError,
// *UnknownError and the libraries' own for what they can't read; then it returns
// dst as it was. It is safe for concurrent use.
func Decompress(dst []byte, c Codec, src []byte, size int) ([]byte, error) {
	if size < 0 {
		return dst, &SizeError{Codec: c, Want: size}
	}
	switch c {
	case None:
		if len(src) != size {
			return dst, &SizeError{Codec: c, Want: size, Got: len(src)}
		}
		return append(dst, src...), nil
	case Gzip:
		return decode(&gzipReaders, dst, c, src, size)
	case Snappy:
		return decode(&snappyReaders, dst, c, src, size)
	case LZ4:
		return decode(&lz4Readers, dst, c, src, size)
	case Zstd:
		return decode(&zstdReaders, dst, c, src, size)
	}
	return dst, &UnknownError{c}
}

// decode appends size bytes through a reader of the pool.
func decode(pool *sync.Pool, dst []byte, c Codec, src []byte, size int) ([]byte, error) {
	d := pool.Get().(*decoder)
	defer pool.Put(d)
	d.in.Reset(src)
	err := d.r.Reset(&d.in)
	if err != nil {
		return dst, fmt.Errorf("compress: %v: %w", c, err)
	}
	out, err := d.readAll(dst, size)
	d.in.Reset(nil) // src is the caller's
	if err != nil {
		return dst, fmt.Errorf("compress: %v: %w", c, err)
	}
	if got := len(out) - len(dst); got != size {
		return dst, &SizeError{Codec: c, Want: size, Got: got}
	}
	return out, nil
}

// readAll appends what there is to dst, up to a byte more than size.
func (d *decoder) readAll(dst []byte, size int) ([]byte, error) {
	left := size
	for left > 0 {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(left, firstRead))
		}
		room := dst[len(dst):cap(dst)]
		n, err := d.r.Read(room[:min(len(room), left)])
		dst = dst[:len(dst)+n]
		left -= n
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
	// The library looks at its checksum, and at what follows, only where it is
	// asked for more.
	n, err := io.ReadFull(d.r, d.more[:])
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return append(dst, d.more[:n]...), err
}

// snappyReader gives snappy's reader the Reset that the others have.
type snappyReader struct {
	*snappy.Reader
}

// Reset makes it read from r.
func (s snappyReader) Reset(r io.Reader) error {
	s.Reader.Reset(r)
	return nil
}

// lz4Reader gives LZ4's reader the Reset that the others have.
type lz4Reader struct {
	*lz4.Reader
}

// Reset makes it read from r.
func (l lz4Reader) Reset(r io.Reader) error {
	l.Reader.Reset(r)
	return nil
}

func newLZ4Reader() resetReader {
	r := lz4.NewReader(nil)
	if err := r.Apply(lz4.ConcurrencyOption(1)); err != nil {
		panic("compress: internal: " + err.Error())
	}
	return lz4Reader{r}
}

// newZstdReader makes a reader without goroutines.
func newZstdReader() resetReader {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindowMax))
	if err != nil {
		panic("compress: internal: " + err.Error())
	}
	return r
}
