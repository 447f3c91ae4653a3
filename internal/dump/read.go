package dump

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/record"
)

const (
	bufferSize = 256 << 10
	// lineMost bounds a line, in bytes: the largest message that RabbitMQ takes by default,
	// 128 MiB, each byte of it as an escape.
	lineMost = 6*128<<20 + 1<<20
	// windowMost bounds the memory of decompression.
	windowMost = 128 << 20
)

func newBuffer(w io.Writer) *bufio.Writer { return bufio.NewWriterSize(w, bufferSize) }

// ErrCutShort is the error of a dump file whose last line is missing.
var ErrCutShort = errors.New("the dump is cut short: its last line, with count and digest, is missing")

// errFirstLine is the error of a file in which there is nothing of a dump.
var errFirstLine = errors.New("it is no dump of thump, or one that is cut short in its first line")

// Reader reads a dump file. It is not safe for concurrent use.
type Reader struct {
	// Header is the first line.
	Header Header

	in     *bufio.Reader
	line   []byte
	number int // of the last line

	parser record.Parser
	digest digest
	read   uint64
	end    Trailer
	ended  bool
}

// NewReader reads the first line of a dump file, which may be compressed.
func NewReader(r io.Reader) (*Reader, error) {
	in, err := decompressed(bufio.NewReaderSize(r, bufferSize))
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errFirstLine
	case err != nil:
		return nil, err
	}
	d := &Reader{in: bufio.NewReaderSize(in, bufferSize), digest: newDigest()}
	line, err := d.next(nil)
	switch {
	case errors.Is(err, ErrCutShort), errors.Is(err, io.EOF): // not even a part of it can be restored
		return nil, errFirstLine
	case err != nil:
		return nil, err
	}
	if d.Header, err = parseHeader(line); err != nil {
		return nil, fmt.Errorf("it is no dump of thump: line 1: %w", err)
	}
	d.digest.lines.Write(line)
	return d, nil
}

// decompressed reads what is compressed, as its first bytes say.
func decompressed(in *bufio.Reader) (io.Reader, error) {
	magic, _ := in.Peek(4) // what is shorter is found out by whoever reads it
	switch {
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(windowMost))
		if err != nil {
			return nil, fmt.Errorf("decompressing it (zstd): %w", err)
		}
		return z, nil // at concurrency 1 there is nothing to close
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("decompressing it (gzip): %w", err)
		}
		return z, nil
	}
	return in, nil
}

func parseHeader(line []byte) (Header, error) {
	var h headerLine
	if err := strict(line, &h); err != nil {
		return Header{}, err
	}
	switch {
	case h.Version < 1 || h.Queue == nil || h.Queue.Name == "":
		return Header{}, errors.New("it says neither a version nor a queue")
	case h.Version > fileVersion:
		return Header{}, fmt.Errorf("it has version %d, and this thump knows %d: a newer one wrote it", h.Version, fileVersion)
	}
	arguments, err := unmarshalTable(h.Queue.Arguments)
	if err != nil {
		return Header{}, err
	}
	partitions, err := parsePartitions(h.Queue)
	return Header{Version: h.Version, Queue: Definition{
		Name: h.Queue.Name, Kind: h.Queue.Kind, Transient: !h.Queue.Durable, AutoDelete: h.Queue.AutoDelete,
		Arguments: arguments, Partitions: partitions, Partial: h.Queue.Partial,
	}}, err
}

// parsePartitions are those of a super stream.
func parsePartitions(of *definition) (partitions []Partition, err error) {
	switch n := len(of.Partitions); {
	case (of.Kind == SuperStream) != (n > 0):
		return nil, errors.New("a super stream has partitions, and nothing else has")
	case n > partitionsMost:
		return nil, fmt.Errorf("it has %d partitions, and a super stream at most %d", n, partitionsMost)
	}
	named := make(map[string]bool)
	for _, line := range of.Partitions {
		p := Partition{Partition: thump.Partition{Name: line.Name}}
		if line.Name == "" || named[line.Name] {
			return nil, fmt.Errorf("a partition has no name, or that of another: %q", line.Name)
		}
		named[line.Name] = true
		if line.BindingKey != nil {
			p.BindingKey, p.Known = *line.BindingKey, true
		}
		if p.Arguments, err = unmarshalTable(line.Arguments); err != nil {
			return nil, fmt.Errorf("partition %q: %w", line.Name, err)
		}
		partitions = append(partitions, p)
	}
	return partitions, nil
}

// strict parses a line of JSON that has no other keys.
func strict(line []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return errors.New(printable.Text(err.Error()))
	}
	if d.More() {
		return errors.New("something follows the object")
	}
	return nil
}

// next appends the next line to line, with its line break. io.EOF says that there is none;
// with a part of a line, that it has no line break.
func (r *Reader) next(line []byte) ([]byte, error) {
	r.number++
	for {
		part, err := r.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case len(line) > lineMost:
			return line, fmt.Errorf("line %d is longer than %d bytes", r.number, lineMost)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return line, io.EOF
		case errors.Is(err, io.ErrUnexpectedEOF):
			return line, ErrCutShort // in the middle of what is compressed
		default:
			return line, fmt.Errorf("line %d: %w", r.number, err)
		}
	}
}

// Read reads the next message into rec, which shares memory of the Reader and is valid
// until the next Read. io.EOF says that there are no more, and that their number and digest
// are what the last line says. ErrCutShort, that the file ends before that; any other error,
// that it is damaged.
func (r *Reader) Read(rec *record.Record) error {
	line, err := r.ReadLine(r.line[:0])
	r.line = line
	if err != nil {
		return err
	}
	return r.Parse(&r.parser, line, rec)
}

// ReadLine appends the line of the next message to line. The errors are those of Read. Each
// line must go to Parse before the next is read.
func (r *Reader) ReadLine(line []byte) ([]byte, error) {
	if r.ended {
		return line, io.EOF
	}
	start := len(line)
	line, err := r.next(line)
	switch {
	case errors.Is(err, io.EOF):
		return line, ErrCutShort
	case err != nil:
		return line, err
	}
	if bytes.HasPrefix(line[start:], []byte(`{"thump_dump_end":`)) {
		return line[:start], r.finish(line[start:])
	}
	return line, nil
}

// Parse reads the record of a line that ReadLine has returned, and counts it.
func (r *Reader) Parse(p *record.Parser, line []byte, rec *record.Record) error {
	if err := p.Parse(line, rec); err != nil {
		return fmt.Errorf("line %d: %w", r.number, err)
	}
	if err := r.digest.turnTo(&r.Header, rec.Stream); err != nil {
		return fmt.Errorf("line %d: %w", r.number, err)
	}
	r.digest.add(line)
	r.read++
	return nil
}

// finish compares what was read with what the last line says.
func (r *Reader) finish(line []byte) error {
	var t trailerLine
	if err := strict(line, &t); err != nil {
		return fmt.Errorf("line %d, the last one: %w", r.number, err)
	}
	if t.End == nil {
		return fmt.Errorf("line %d, the last one, says nothing", r.number)
	}
	lines, messages := r.digest.sums()
	written, err := json.Marshal(t)
	switch {
	case err != nil || string(line) != string(written)+"\n":
		return fmt.Errorf("line %d, the last one, is not as it was written", r.number)
	case t.End.Messages != r.read:
		return fmt.Errorf("the dump is damaged: it holds %d messages, and says that there are %d", r.read, t.End.Messages)
	case t.End.SHA256 != lines || t.End.MessagesSHA256 != messages:
		return fmt.Errorf("the dump is damaged: the digest of it and its %d messages is not the one that it says", r.read)
	}
	rest, err := r.next(nil)
	if len(rest) > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("the dump is damaged: something follows its last line")
	}
	r.end, r.ended = *t.End, true
	return io.EOF
}

// Messages is how many were read so far.
func (r *Reader) Messages() uint64 { return r.read }

// Trailer is the last line, once Read or ReadLine has returned io.EOF.
func (r *Reader) Trailer() Trailer { return r.end }

// digestSoFar is the digest of the messages that were read so far; see Trailer.
func (r *Reader) digestSoFar() string {
	_, messages := r.digest.sums()
	return messages
}

// publishable says why a message can't be published as it is; nil where it can.
func publishable(r *record.Record, toStream bool) error {
	switch {
	case r.Unreadable != "":
		return errors.New("its properties could not be read: " + printable.Text(r.Unreadable))
	case r.Properties.Format == thump.FormatBatch:
		return errors.New("it is a batch of a stream that could not be opened")
	case r.Properties.Format == thump.FormatRaw && !toStream:
		return errors.New("it is no AMQP message, which only a stream takes")
	default:
		return nil
	}
}
