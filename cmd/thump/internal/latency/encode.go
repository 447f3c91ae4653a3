package latency

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// encodedMost is the longest text that Decode looks at: several times what a histogram takes
// in which every value is different.
const encodedMost = 1 << 20

// countMost is how many messages a histogram may have that somebody else wrote: more than any
// run has, a million a second for nine years. From 1<<51 on a float64 does not part the
// last points of the percentile curve, and the curve would be endless.
const countMost = 1 << 48

// errForeign is what becomes of a histogram that is not one of these.
var errForeign = errors.New("it does not have three digits from a microsecond to a day")

// errTooMany is what becomes of one that has more than countMost.
var errTooMany = errors.New("it has more messages than any run")

// Encode returns the histogram as HdrHistogram's V2 encoding, compressed and in base64, which
// the tools of that project read too: values in microseconds. Usually it takes a few kilobytes.
func (h *Histogram) Encode() string {
	text, err := h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(fmt.Sprintf("latency: to encode into memory has failed: %v", err)) // it can't
	}
	return string(text)
}

// Decode returns the histogram that Encode has written. It refuses others, also those of other
// numbers of digits or other ranges, and those with more messages than any run has: nothing
// that a text says makes it allocate more than a histogram takes, or its curve endless.
func Decode(text string) (*Histogram, error) {
	if err := checkEncoded(text); err != nil {
		return nil, fmt.Errorf("latency: the histogram can't be read: %w", err)
	}
	h, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("latency: the histogram can't be read: %w", err)
	}
	if h.TotalCount() > countMost {
		return nil, fmt.Errorf("latency: the histogram can't be read: %w", errTooMany)
	}
	return &Histogram{h: h}, nil
}

// The encoding: a cookie and a length, and then, compressed, a header with these fields.
const (
	outerHeader = 8
	innerHeader = 40
	digitsAt    = 12
	lowestAt    = 16
	highestAt   = 24
)

// checkEncoded looks at what decides how much memory decoding takes.
func checkEncoded(text string) error {
	if len(text) > encodedMost {
		return fmt.Errorf("it is %d bytes long", len(text))
	}
	outer, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	if len(outer) < outerHeader {
		return io.ErrUnexpectedEOF
	}
	inflated, err := zlib.NewReader(bytes.NewReader(outer[outerHeader:]))
	if err != nil {
		return err
	}
	var header [innerHeader]byte
	if _, err := io.ReadFull(inflated, header[:]); err != nil {
		return err
	}
	be := binary.BigEndian
	if be.Uint32(header[digitsAt:]) != digits || be.Uint64(header[lowestAt:]) != 1 || be.Uint64(header[highestAt:]) != uint64(longest/unit) {
		return errForeign
	}
	return nil
}
