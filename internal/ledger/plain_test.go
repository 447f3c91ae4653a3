package ledger

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
)

// The plain forms below do without the tricks of text.go and sized.go. Tests and
// fuzz tests hold the package to them, and BenchmarkPlain times them.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// plainAppend is Format.Append: digits by strconv, a checksum over every byte.
func plainAppend(dst []byte, f *Format, n uint64) []byte {
	if f.sized == nil {
		return strconv.AppendUint(append(dst, tutorialPrefix...), n, 10)
	}
	at := len(dst)
	publisher := f.plan.owner(n)
	dst = binary.BigEndian.AppendUint32(dst, f.sized.run)
	dst = binary.BigEndian.AppendUint16(dst, uint16(publisher))
	sequence := n - f.plan.Range(publisher).First + 1
	dst = append(dst, binary.BigEndian.AppendUint64(nil, sequence)[2:]...)
	filler := f.of(binary.BigEndian.Uint64(dst[at+4:])).filler
	sum := crc32.Update(crc32.Checksum(dst[at:], castagnoli), castagnoli, filler)
	return append(binary.BigEndian.AppendUint32(dst, sum), filler...)
}

// plainParse is Format.Parse.
func plainParse(f *Format, body []byte) (uint64, Class) {
	plan := f.plan
	if f.sized == nil {
		n, ok := plainNumbered(body)
		switch {
		case ok && n <= plan.Count:
			return n, Ours
		case !ok && bytes.HasPrefix(body, []byte("M")):
			return 0, Corrupted
		}
		return 0, Unexpected
	}
	if len(body) < 16 {
		return 0, Unexpected
	}
	ours := binary.BigEndian.Uint32(body) == f.sized.run
	if len(body) != f.of(readHeader(body).id).size() {
		if ours {
			return 0, Corrupted
		}
		return 0, Unexpected
	}
	sum := crc32.Update(crc32.Checksum(body[:12], castagnoli), castagnoli, body[16:])
	if sum != binary.BigEndian.Uint32(body[12:]) {
		return 0, Corrupted
	}
	publisher, sequence := int(binary.BigEndian.Uint16(body[4:])), binary.BigEndian.Uint64(body[4:])<<16>>16
	if !ours || publisher >= plan.Publishers || sequence < 1 || sequence > plan.Range(publisher).Len() {
		return 0, Unexpected
	}
	return plan.Range(publisher).First + sequence - 1, Ours
}

// plainNumbered is parseNumbered.
func plainNumbered(body []byte) (uint64, bool) {
	digits, ok := bytes.CutPrefix(body, []byte(tutorialPrefix))
	n, err := strconv.ParseUint(string(digits), 10, 64)
	return n, ok && err == nil && n > 0 && strconv.FormatUint(n, 10) == string(digits)
}

// FuzzPlain holds AppendRun, Append and Parse to their plain forms: the bodies of
// up to 300 messages from n on, and a body that may be anything.
func FuzzPlain(f *testing.F) {
	plan := Plan{Count: MaxCount, Publishers: 7}
	formats := []Format{Tutorial(plan), mustSized(f, plan, 16), mustSized(f, plan, 17), mustSized(f, plan, 40), mustMix(f, plan)}
	for _, n := range []uint64{1, 95, 99_999_950, 999_999_999_950, plan.Range(0).Last, plan.Range(1).First, MaxCount} {
		for i := range formats {
			f.Add(n, uint16(120), formats[i].Append(nil, n))
		}
		f.Add(n, uint16(1), []byte{})
	}
	mutate.Fuzz(f, func(t *testing.T, n uint64, length uint16, body []byte) {
		n = n%plan.Count + 1
		own := plan.Range(plan.owner(n))
		length = uint16(min(uint64(length%300), own.Last-n+1))
		for i := range formats {
			format := &formats[i]
			var want []byte
			for k := range uint64(length) {
				want = plainAppend(want, format, n+k)
			}
			if got, _ := format.AppendRun(nil, n, int(length), nil); !bytes.Equal(got, want) {
				t.Errorf("size %d: %d bodies from %d\n got %q\nwant %q", format.MaxSize(), length, n, got, want)
			}
			if got, want := format.Append(nil, n), plainAppend(nil, format, n); !bytes.Equal(got, want) {
				t.Errorf("size %d: body %d\n got %q\nwant %q", format.MaxSize(), n, got, want)
			}
			got, class := format.Parse(body)
			if want, wantClass := plainParse(format, body); got != want || class != wantClass {
				t.Errorf("size %d: %q parses as %d, class %d, want %d, class %d", format.MaxSize(), body, got, class, want, wantClass)
			}
		}
	})
}
