package dump

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/record"
)

// fileVersion is the version of the file that is written, and the highest that is read.
const fileVersion = 1

// Header is the first line of a dump file.
type Header struct {
	Version int
	Queue   Definition
}

// Trailer is its last line: what there is between the two.
type Trailer struct {
	Messages uint64 `json:"messages"`
	// SHA256 is of all lines before this one, with their line breaks, in hexadecimal digits.
	// MessagesSHA256 is of the records alone, without what a broker stamps on a message that it
	// stores: stream, offset and time. So it is the same for the same messages, wherever they
	// are. Of a super stream it is also of which partition they are in, by its number.
	SHA256         string `json:"sha256"`
	MessagesSHA256 string `json:"messages_sha256"`
}

// The keys of the lines that are no records.
type (
	headerLine struct {
		Version int         `json:"thump_dump"`
		Queue   *definition `json:"queue"`
	}
	definition struct {
		Name       string          `json:"name"`
		Kind       thump.QueueKind `json:"kind,omitempty"`
		Durable    bool            `json:"durable"`
		AutoDelete bool            `json:"auto_delete"`
		Arguments  json.RawMessage `json:"arguments"`
		Partitions []partition     `json:"partitions,omitempty"`
		Partial    string          `json:"partial,omitempty"`
	}
	partition struct {
		Name       string          `json:"name"`
		BindingKey *string         `json:"binding_key,omitempty"` // nil where it is not known
		Arguments  json.RawMessage `json:"arguments"`
	}
	trailerLine struct {
		End *Trailer `json:"thump_dump_end"`
	}
)

// Compression is how a file of this name is compressed: "zstd", "gzip" or "".
func Compression(name string) string {
	switch {
	case strings.HasSuffix(name, ".zst"), strings.HasSuffix(name, ".zstd"):
		return "zstd"
	case strings.HasSuffix(name, ".gz"):
		return "gzip"
	default:
		return ""
	}
}

// Writer writes a dump file. It is not safe for concurrent use.
type Writer struct {
	out    io.Writer
	finish func() error // of the compression

	header Header
	line   []byte // of the last record
	digest digest
	end    Trailer
}

// NewWriter writes the first line of a dump file to w, compressed as Compression says. What
// it writes to w comes in large pieces.
func NewWriter(w io.Writer, compression string, h Header) (*Writer, error) {
	d := &Writer{header: h, digest: newDigest()}
	switch compression {
	case "zstd":
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return nil, err
		}
		d.out, d.finish = z, z.Close
	case "gzip":
		z := gzip.NewWriter(w)
		d.out, d.finish = z, z.Close
	default:
		b := newBuffer(w)
		d.out, d.finish = b, b.Flush
	}
	first, err := marshalHeader(&h.Queue)
	if err != nil {
		return nil, err
	}
	first = append(first, '\n')
	d.digest.lines.Write(first)
	_, err = d.out.Write(first)
	return d, err
}

// marshalHeader is the first line, without its line break.
func marshalHeader(d *Definition) ([]byte, error) {
	arguments, err := marshalTable(d.Arguments)
	if err != nil {
		return nil, err
	}
	of := &definition{Name: d.Name, Kind: d.Kind, Durable: !d.Transient, AutoDelete: d.AutoDelete, Arguments: arguments, Partial: d.Partial}
	for _, p := range d.Partitions {
		if arguments, err = marshalTable(p.Arguments); err != nil {
			return nil, err
		}
		line := partition{Name: p.Name, Arguments: arguments}
		if p.Known {
			line.BindingKey = &p.BindingKey
		}
		of.Partitions = append(of.Partitions, line)
	}
	return json.Marshal(headerLine{Version: fileVersion, Queue: of})
}

// Write writes a message as a record. What a queue says of its deliveries is left out:
// whether and how often a message was delivered before.
func (w *Writer) Write(batch *thump.Batch, d *thump.Delivery) error {
	stream := ""
	if batch != nil {
		stream = batch.Stream
	}
	return w.writeLine(w.encode(batch, d), stream)
}

// encode makes a record of a message, as a line.
func (w *Writer) encode(batch *thump.Batch, d *thump.Delivery) []byte {
	var r record.Record
	r.Set(d, batch)
	r.Redelivered, r.DeliveryCount = false, 0
	r.Properties.Headers.Del("x-delivery-count")
	r.Properties.Headers.Del("x-acquired-count")
	w.line = record.Append(w.line[:0], &r)
	return w.line
}

// writeLine writes the line of a record, of a message that is in that stream.
func (w *Writer) writeLine(line []byte, stream string) error {
	if err := w.digest.turnTo(&w.header, stream); err != nil {
		return err
	}
	w.digest.add(line)
	w.end.Messages++
	_, err := w.out.Write(line)
	return err
}

// Close writes the last line, and all that is not written yet.
func (w *Writer) Close() (Trailer, error) {
	w.end.SHA256, w.end.MessagesSHA256 = w.digest.sums()
	last, err := json.Marshal(trailerLine{&w.end})
	if err != nil {
		return w.end, err
	}
	if _, err := w.out.Write(append(last, '\n')); err != nil {
		return w.end, err
	}
	return w.end, w.finish()
}

// stamps is how long the part of a line is that has the stamps, which are first in a record:
// from the brace to the comma behind them; 0 where there are none.
func stamps(line []byte) int {
	const first, last = `{"stream":"`, `,"stored_at":"` // no text of JSON has a quotation mark without a backslash
	at := bytes.Index(line, []byte(last))
	if !bytes.HasPrefix(line, []byte(first)) || at < 0 {
		return 0
	}
	at += len(last)
	end := bytes.Index(line[at:], []byte(`",`))
	if end < 0 {
		return 0
	}
	return at + end + len(`",`)
}

// digest is the digests of a Trailer.
type digest struct {
	lines, messages hash.Hash
	partition       string // that the last record was of
}

func newDigest() digest { return digest{lines: sha256.New(), messages: sha256.New()} }

// turnTo notes which partition of a super stream the next records are of. One that the dump does not
// know is an error.
func (d *digest) turnTo(h *Header, stream string) error {
	if h.Queue.Kind != SuperStream || stream == d.partition && stream != "" {
		return nil
	}
	at := slices.IndexFunc(h.Queue.Partitions, func(p Partition) bool { return p.Name == stream })
	if at < 0 {
		return fmt.Errorf("a message of the stream %q, which is none of the partitions that the first line names", stream)
	}
	d.partition = stream
	d.messages.Write(fmt.Appendf(nil, "partition %d\n", at))
	return nil
}

// add adds the line of a record.
func (d *digest) add(line []byte) {
	d.lines.Write(line)
	if n := stamps(line); n > 0 {
		d.messages.Write(line[:1])
		line = line[n:]
	}
	d.messages.Write(line)
}

func (d *digest) sums() (lines, messages string) {
	return hex.EncodeToString(d.lines.Sum(nil)), hex.EncodeToString(d.messages.Sum(nil))
}

// marshalTable is a table as the headers of a record are.
func marshalTable(t thump.Table) (json.RawMessage, error) {
	if len(t) == 0 {
		return json.RawMessage("{}"), nil
	}
	var line struct{ Headers json.RawMessage }
	err := json.Unmarshal(record.Append(nil, &record.Record{Properties: thump.Properties{Headers: t}}), &line)
	return line.Headers, err
}

// unmarshalTable reads what marshalTable has made.
func unmarshalTable(text json.RawMessage) (thump.Table, error) {
	if len(text) == 0 {
		return nil, errors.New("there are no arguments")
	}
	var p record.Parser
	var r record.Record
	if err := p.Parse(fmt.Appendf(nil, `{"headers":%s,"body":""}`, text), &r); err != nil {
		return nil, fmt.Errorf("the arguments: %w", err)
	}
	giveUnit(&r.Properties.Headers) // which dumps once had as it was told
	return r.Properties.Headers, nil
}
