package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Layout is how messages are put into a file.
type Layout string

// The layouts. All but JSON are of bodies alone.
const (
	JSON           Layout = "json"            // a record, as a line of JSON
	Lines          Layout = "lines"           // a body, and a line break or another delimiter
	Raw            Layout = "raw"             // bodies one after another, with nothing between; read, all of it is one body
	LengthPrefixed Layout = "length-prefixed" // four bytes, the body's length, the highest first, and the body
)

// Layouts are all layouts.
func Layouts() []Layout { return []Layout{JSON, Lines, Raw, LengthPrefixed} }

// LayoutOf is the layout that a file's name stands for: JSON for .ndjson, .jsonl and .json, be
// it compressed or not, and Lines for any other.
func LayoutOf(name string) Layout {
	name = strings.TrimSuffix(name, CompressionOf(name).suffix())
	if slices.Contains([]string{".ndjson", ".jsonl", ".json"}, strings.ToLower(filepath.Ext(name))) {
		return JSON
	}
	return Lines
}

// Format is a layout with what belongs to it.
type Format struct {
	Layout Layout
	// Delimiter is what ends each body, with Lines; empty for a line break.
	Delimiter string
}

// BodyMost is the largest body that LengthPrefixed has room for, and more than a broker
// takes.
const BodyMost = 1 << 30

// Append appends a message as the format has it. It allocates only to grow dst, and keeps
// nothing of r.
func (f Format) Append(dst []byte, r *Record) []byte {
	switch f.Layout {
	case JSON:
		return Append(dst, r)
	case Raw:
		return append(dst, r.Body...)
	case LengthPrefixed:
		return append(binary.BigEndian.AppendUint32(dst, uint32(len(r.Body))), r.Body...)
	default:
		return append(append(dst, r.Body...), f.delimiter()...)
	}
}

// Splits reports whether a body would be read back as several, because the delimiter is in
// it.
func (f Format) Splits(body []byte) bool {
	return f.Layout == Lines && bytes.Contains(body, []byte(f.delimiter()))
}

func (f Format) delimiter() string {
	if f.Delimiter == "" {
		return "\n"
	}
	return f.Delimiter
}

// Unit is what a message of a file is called in errors: "line" or "message".
func (f Format) Unit() string {
	if f.Layout == JSON || f.Layout == Lines && f.delimiter() == "\n" {
		return "line"
	}
	return "message"
}

var errCut = errors.New("the file ends in the middle of it")

// split finds the first message in data, and how many bytes of data it takes; 0 where not
// all of it is there. scanned bytes were looked at before, in vain. end says that nothing
// follows the data.
func (f Format) split(data []byte, scanned int, end bool) (message []byte, size int, err error) {
	switch f.Layout {
	case Raw:
		if !end {
			return nil, 0, nil
		}
		return data, len(data), nil
	case LengthPrefixed:
		return splitLength(data, end)
	default:
		return f.splitLine(data, scanned, end)
	}
}

// splitLine is split for what ends with a delimiter.
func (f Format) splitLine(data []byte, scanned int, end bool) (message []byte, size int, err error) {
	delimiter := "\n"
	if f.Layout == Lines {
		delimiter = f.delimiter()
	}
	from := max(0, scanned-len(delimiter)+1)
	switch i := bytes.Index(data[from:], []byte(delimiter)); {
	case i >= 0:
		return data[:from+i], from + i + len(delimiter), nil
	case end:
		return data, len(data), nil
	default:
		return nil, 0, nil
	}
}

func splitLength(data []byte, end bool) (message []byte, size int, err error) {
	const prefix = 4
	if len(data) >= prefix {
		length := int64(binary.BigEndian.Uint32(data))
		if length > BodyMost {
			return nil, 0, fmt.Errorf("its length is %d bytes, and %d are the most: is this a file with lengths?", length, BodyMost)
		}
		if size := prefix + int(length); len(data) >= size {
			return data[prefix:size], size, nil
		}
	}
	if end {
		return nil, 0, errCut
	}
	return nil, 0, nil
}
