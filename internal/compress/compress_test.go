package compress

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/mutate"
)

// codecs are those that compress.
func codecs() []Codec { return []Codec{Gzip, Snappy, LZ4, Zstd} }

// text is something that compresses as messages do.
func text(size int) []byte {
	b := make([]byte, 0, size+64)
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, "message %d of an ordinary kind, %x\n", i, uint32(i*i)*2654435761)
	}
	return b[:size]
}

func TestThereAndBack(t *testing.T) {
	for _, size := range []int{0, 1, 100, 5000, 65536, 70_000, 3 << 20} {
		src := text(size)
		for _, c := range append(codecs(), None) {
			packed, err := Compress([]byte("before"), c, src)
			if err != nil || !bytes.HasPrefix(packed, []byte("before")) {
				t.Fatalf("%v, %d bytes: %v", c, size, err)
			}
			packed = packed[len("before"):]
			if c != None && size >= 5000 && len(packed) > size*3/4 {
				t.Errorf("%v: %d bytes became %d", c, size, len(packed))
			}
			for _, room := range []int{0, size, 2*size + 100} {
				dst := append(make([]byte, 0, 6+room), "before"...)
				got, err := Decompress(dst, c, packed, size)
				if err != nil || string(got[:6]) != "before" || !bytes.Equal(got[6:], src) {
					t.Errorf("%v, %d bytes, room for %d: got %d, %v", c, size, room, len(got)-6, err)
				}
			}
		}
	}
}

// TestOthers reads what other libraries have compressed.
func TestOthers(t *testing.T) {
	data, err := os.ReadFile("testdata/others.txt")
	if err != nil {
		t.Fatal(err)
	}
	var plain []byte
	seen := map[Codec]int{}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		c, err := Parse(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		packed, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		if c == None {
			plain = packed
			continue
		}
		seen[c]++
		if got, err := Decompress(nil, c, packed, len(plain)); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%v by %s: got %q, %v", c, fields[1], got, err)
		}
	}
	for _, c := range codecs() {
		if seen[c] == 0 {
			t.Errorf("nothing by %v", c)
		}
	}
}

// TestFormats looks at the first bytes of what is written, and lets the standard
// library read its gzip.
func TestFormats(t *testing.T) {
	src := text(1000)
	for c, magic := range map[Codec]string{
		Gzip:   "\x1f\x8b",
		Snappy: "\xff\x06\x00\x00sNaPpY",
		LZ4:    "\x04\x22\x4d\x18",
		Zstd:   "\x28\xb5\x2f\xfd",
	} {
		packed, err := Compress(nil, c, src)
		if err != nil || !bytes.HasPrefix(packed, []byte(magic)) {
			t.Errorf("%v begins with % x, %v", c, packed[:min(10, len(packed))], err)
		}
	}
	packed, err := Compress(nil, Gzip, src)
	if err != nil {
		t.Fatal(err)
	}
	r, err := stdgzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, src) {
		t.Errorf("the standard library reads %d bytes, %v", len(got), err)
	}
}

// TestCutAndChanged cuts each compressed batch at each of its bytes, and changes
// each: it is an error, or what came out is still of the right size.
func TestCutAndChanged(t *testing.T) {
	src := text(3000)
	for _, c := range codecs() {
		packed, err := Compress(nil, c, src)
		if err != nil {
			t.Fatal(err)
		}
		for size := range packed {
			got, err := Decompress([]byte("before"), c, packed[:size], len(src))
			if err == nil && !bytes.Equal(got[6:], src) {
				t.Errorf("%v cut to %d of %d bytes: read as something else", c, size, len(packed))
			}
			if err != nil && string(got) != "before" {
				t.Errorf("%v cut to %d bytes: dst came back as %.20q", c, size, got)
			}
			changed := bytes.Clone(packed)
			changed[size] ^= 0x40
			if got, err := Decompress(nil, c, changed, len(src)); err == nil && len(got) != len(src) {
				t.Errorf("%v with byte %d changed: got %d bytes", c, size, len(got))
			}
		}
		if _, err := Decompress(nil, c, append(bytes.Clone(packed), "garbage"...), len(src)); err == nil {
			t.Errorf("%v with garbage after it: no error", c)
		}
		// A reader that has seen an error is used again.
		if got, err := Decompress(nil, c, packed, len(src)); err != nil || !bytes.Equal(got, src) {
			t.Errorf("%v after all that: %d bytes, %v", c, len(got), err)
		}
	}
}

func TestSizeErrors(t *testing.T) {
	src := text(3000)
	for _, c := range append(codecs(), None) {
		packed, err := Compress(nil, c, src)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 2999, 3001, 1 << 20, math.MaxInt, -1, math.MinInt} {
			var sizeErr *SizeError
			got, err := Decompress([]byte("before"), c, packed, size)
			if !errors.As(err, &sizeErr) || sizeErr.Codec != c || sizeErr.Want != size || string(got) != "before" {
				t.Errorf("%v, %d bytes for 3000: got %.20q, %v", c, size, got, err)
			}
		}
	}
	for want, err := range map[string]error{
		"lz4: want 10 bytes uncompressed, got 9 bytes": &SizeError{LZ4, 10, 9},
		"lz4: want 10 bytes uncompressed, got more":    &SizeError{LZ4, 10, 11},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestBombs reads small batches that are large, or claim it.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	for _, c := range codecs() {
		bomb, err := Compress(nil, c, zeros)
		if err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name  string
			src   []byte
			size  int
			limit uint64
		}{
			// Decompress stops where the data should have ended.
			{"more than it says", bomb, 1000, 20 << 20},
			// A claimed size is not believed until the bytes are there.
			{"less than it says", []byte{}, 1 << 30, 20 << 20},
		}
		for _, test := range tests {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decompress(nil, c, test.src, test.size)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > test.limit {
				t.Errorf("%v, %s: allocated %d bytes, %v", c, test.name, got, err)
			}
		}
	}
	// A zstd frame with a window of 512 MiB, and one that claims a content of 1 GiB
	// in one piece.
	for name, src := range map[string]string{
		"window":  "\x28\xb5\x2f\xfd\x00\x98\x01\x00\x00",
		"content": "\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x40\x01\x00\x00",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decompress(nil, Zstd, []byte(src), 1<<30)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 20<<20 {
			t.Errorf("zstd, %s: allocated %d bytes, %v", name, got, err)
		}
	}
}

func TestUnknown(t *testing.T) {
	var unknown *UnknownError
	for _, c := range []Codec{5, 7, 255} {
		if got, err := Compress([]byte("before"), c, nil); !errors.As(err, &unknown) || unknown.Codec != c || string(got) != "before" {
			t.Errorf("Compress: got %q, %v", got, err)
		}
		if got, err := Decompress([]byte("before"), c, nil, 0); !errors.As(err, &unknown) || unknown.Codec != c || string(got) != "before" {
			t.Errorf("Decompress: got %q, %v", got, err)
		}
		if want := fmt.Sprintf("compression %d", uint8(c)); c.String() != want {
			t.Errorf("got %q", c)
		}
	}
}

func TestParse(t *testing.T) {
	for name, want := range map[string]Codec{"none": None, "gzip": Gzip, "SNAPPY": Snappy, "Lz4": LZ4, "zstd": Zstd} {
		if got, err := Parse(name); err != nil || got != want || got.String() != strings.ToLower(name) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "brotli", "compression 5"} {
		if got, err := Parse(name); err == nil {
			t.Errorf("%q: got %v", name, got)
		}
	}
}

// TestConcurrentUse uses the pools from several goroutines, and looks whether the
// libraries leave any of theirs behind.
func TestConcurrentUse(t *testing.T) {
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 50 {
				c := codecs()[(worker+i)%4]
				src := text(1000*worker + i)
				packed, err := Compress(nil, c, src)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := Decompress(nil, c, packed, len(src)); err != nil || !bytes.Equal(got, src) {
					t.Errorf("%v, %d bytes: got %d, %v", c, len(src), len(got), err)
				}
			}
		})
	}
	wg.Wait()
	// Wait returns before the last of the goroutines is gone.
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left, %d there were", runtime.NumGoroutine(), before)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for _, size := range []int{0, 10, 3000} {
		src := text(size)
		for _, c := range codecs() {
			packed, err := Compress(nil, c, src)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(c), packed, size)
		}
	}
	mutate.Fuzz(f, func(t *testing.T, c uint8, src []byte, size int) {
		size = min(size, 1<<16)
		got, err := Decompress([]byte("before"), Codec(c), src, size)
		if err != nil {
			if string(got) != "before" {
				t.Fatalf("dst came back as %.20q", got)
			}
			return
		}
		if len(got) != 6+size || string(got[:6]) != "before" {
			t.Fatalf("got %d bytes, want %d", len(got)-6, size)
		}
		packed, err := Compress(nil, Codec(c), got[6:])
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Decompress(nil, Codec(c), packed, size); err != nil || !bytes.Equal(again, got[6:]) {
			t.Fatalf("%d bytes came back as %d, %v", size, len(again), err)
		}
	})
}

// benchBatch is a batch of messages of 100 bytes.
func benchBatch() []byte {
	var b []byte
	for i := range 500 {
		b = binary.BigEndian.AppendUint32(b, 105)
		b = append(b, 0, 0x53, 0x75, 0xa0, 100)
		b = append(b, text(100 + i)[i:]...)
	}
	return b
}

func BenchmarkCompress(b *testing.B) {
	for _, c := range codecs() {
		b.Run(c.String(), func(b *testing.B) {
			src := benchBatch()
			var dst []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				var err error
				if dst, err = Compress(dst[:0], c, src); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(src))/float64(len(dst)), "ratio")
		})
	}
}

func BenchmarkDecompress(b *testing.B) {
	for _, c := range codecs() {
		b.Run(c.String(), func(b *testing.B) {
			src := benchBatch()
			packed, err := Compress(nil, c, src)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, len(src)+1)
			b.ReportAllocs()
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if _, err := Decompress(dst, c, packed, len(src)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
