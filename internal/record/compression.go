package record

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a file is compressed.
type Compression string

// The compressions.
const (
	None Compression = "none"
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// CompressionOf is the compression that a file's name stands for: .gz, .zst or .zstd.
func CompressionOf(name string) Compression {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".gz":
		return Gzip
	case ".zst", ".zstd":
		return Zstd
	default:
		return None
	}
}

// suffix is what a name with the compression ends in.
func (c Compression) suffix() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	default:
		return ""
	}
}

// windowMost is how far back what is compressed may refer: the memory that it takes to read.
const windowMost = 128 << 20

// Reader returns what reads what is compressed in from. Close it; it does not close from.
func (c Compression) Reader(from io.Reader) (io.ReadCloser, error) {
	switch c {
	case Gzip:
		r, err := gzip.NewReader(from)
		if err != nil {
			return nil, notCompressed(c, err)
		}
		return r, nil
	case Zstd:
		r, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(windowMost))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return zstdReader{r}, nil
	default:
		return io.NopCloser(from), nil
	}
}

// ErrNotCompressed is the error of reading what is not compressed, or in another way.
var ErrNotCompressed = errors.New("it is not compressed with")

// notCompressed is err, or where that says that what is read is not compressed so, that in words.
func notCompressed(c Compression, err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, zstd.ErrMagicMismatch) {
		return fmt.Errorf("%w %s", ErrNotCompressed, c)
	}
	return fmt.Errorf("%s: %w", c, err)
}

// zstdReader is a decoder, which finds out what it reads when it is first read from.
type zstdReader struct{ *zstd.Decoder }

func (r zstdReader) Read(p []byte) (int, error) {
	n, err := r.Decoder.Read(p)
	if errors.Is(err, zstd.ErrMagicMismatch) {
		err = notCompressed(Zstd, err)
	}
	return n, err
}

func (r zstdReader) Close() error {
	r.Decoder.Close()
	return nil
}

// Writer writes what is to be compressed. What was written is in the file, and can be read,
// once it was flushed; Close ends the file, and does not close what is below.
type Writer interface {
	io.WriteCloser
	Flush() error
}

// Writer returns what compresses into to.
func (c Compression) Writer(to io.Writer) (Writer, error) {
	switch c {
	case Gzip:
		return gzip.NewWriter(to), nil
	case Zstd:
		w, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return w, nil
	default:
		return plain{to}, nil
	}
}

// plain writes what is not compressed.
type plain struct{ io.Writer }

func (plain) Flush() error { return nil }
func (plain) Close() error { return nil }
