package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// zstdWindowMax is the largest window, in bytes, that a zstd frame may ask for. RFC 8878
// recommends it to decoders, and asks encoders not to exceed it.
const zstdWindowMax = 8 << 20

// firstRead is for how many bytes the output gets room at a time, whatever the claimed
// size.
const firstRead = 64 << 10

//nolint:gochecknoglobals // pools have no state that anyone sees
var (
	gzipReaders   = sync.Pool{New: func() any { return &decoder{r: new(gzip.Reader)} }}
	snappyReaders = sync.Pool{New: func() any { return &decoder{r: snappyReader{snappy.NewReader(nil)}} }}
	lz4Readers    = sync.Pool{New: func() any { return &decoder{r: newLZ4Reader()} }}
	zstdReaders   = sync.Pool{New: func() any { return &decoder{r: newZstdReader()} }}
)

// resetReader is what the libraries' readers have in common, some with an adapter.
type resetReader interface {
	io.Reader
	Reset(r io.Reader) error
}

// decoder is a reader and the source that it reads.
type decoder struct {
	r    resetReader
	in   bytes.Reader
	more [1]byte // for a byte after the end, where there should be none
}

// Decompress uncompresses src and appends the result to dst. It keeps neither. The
// result must have exactly size bytes: Decompress stops after size bytes, but makes room
// only for bytes that really come out. The errors are *SizeError, *UnknownError and the
// libraries' own for data that they can't read; after an error dst is unchanged.
// Decompress is safe for concurrent use.
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

// decode uncompresses src with a reader from the pool.
func decode(pool *sync.Pool, dst []byte, c Codec, src []byte, size int) ([]byte, error) {
	d := pool.Get().(*decoder)
	defer pool.Put(d)
	d.in.Reset(src)
	err := d.r.Reset(&d.in)
	if err != nil {
		return dst, named(c, err)
	}
	out, err := d.readAll(dst, size)
	d.in.Reset(nil) // src belongs to the caller
	if err != nil {
		return dst, named(c, err)
	}
	if got := len(out) - len(dst); got != size {
		return dst, &SizeError{Codec: c, Want: size, Got: got}
	}
	return out, nil
}

// readAll appends what d reads to dst, at most size bytes and one more.
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
	// The library checks its checksum, and what follows, only if it is asked for
	// more.
	n, err := io.ReadFull(d.r, d.more[:])
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return append(dst, d.more[:n]...), err
}

// snappyReader adapts Reset of snappy's reader.
type snappyReader struct {
	*snappy.Reader
}

// Reset makes it read r.
func (s snappyReader) Reset(r io.Reader) error {
	s.Reader.Reset(r)
	return nil
}

// lz4Reader adapts Reset of LZ4's reader.
type lz4Reader struct {
	*lz4.Reader
}

// Reset makes it read r.
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

// newZstdReader makes a reader that starts no goroutines.
func newZstdReader() resetReader {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindowMax))
	if err != nil {
		panic("compress: internal: " + err.Error())
	}
	return r
}

// named is the error of a compression, which some of the packages that have them
// begin with its name.
func named(c Codec, err error) error {
	if strings.HasPrefix(err.Error(), c.String()+": ") {
		return err
	}
	return fmt.Errorf("%v: %w", c, err)
}
