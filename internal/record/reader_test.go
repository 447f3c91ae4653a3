package record

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// TestFiles: what is written comes back, in every layout and compression, however few bytes
// a read brings.
func TestFiles(t *testing.T) {
	seed := rand.Uint64()
	random := generator{rand.New(rand.NewPCG(seed, 0))}
	for turn := range 12 {
		for _, format := range []Format{{Layout: JSON}, {Layout: Lines}, {Layout: Lines, Delimiter: "--\r\n"}, {Layout: LengthPrefixed}} {
			var records []Record
			var file bytes.Buffer
			compression := []Compression{None, Gzip, Zstd}[turn%3]
			w, err := compression.Writer(&file)
			if err != nil {
				t.Fatal(err)
			}
			for range random.IntN(200) {
				r := random.record()
				if random.IntN(20) == 0 {
					r.Body = bytes.Repeat(r.Body, random.IntN(4000))
				}
				if format.Layout == Lines {
					r.Body = bytes.ReplaceAll(r.Body, []byte(format.delimiter()), nil)
				}
				if format.Layout != JSON {
					r = Record{Body: r.Body}
				}
				records = append(records, r)
				if _, err := w.Write(format.Append(nil, &r)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(w.Flush(), w.Close()); err != nil {
				t.Fatal(err)
			}
			var from io.Reader = &file
			if turn%2 == 0 {
				from = iotest.HalfReader(from)
			}
			plain, err := compression.Reader(from)
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, seed, NewReader(plain, format), records)
		}
	}
}

// checkFile reads a file to its end and compares.
func checkFile(t *testing.T, seed uint64, r *Reader, want []Record) {
	t.Helper()
	records, numbers := make([]Record, 7), make([]uint64, 7)
	read := 0
	for {
		n, err := r.Read(records, numbers)
		for i := range n {
			if read == len(want) || !same(reflect.ValueOf(records[i]), reflect.ValueOf(want[read])) {
				t.Fatalf("seed %d: message %d is %+v, want %+v", seed, read, records[i], want[read:])
			}
			if read++; numbers[i] != uint64(read) {
				t.Fatalf("seed %d: message %d has the number %d", seed, read, numbers[i])
			}
		}
		if errors.Is(err, io.EOF) && n == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("seed %d: after %d: %v", seed, read, err)
		}
	}
	if read != len(want) {
		t.Fatalf("seed %d: %d messages, want %d", seed, read, len(want))
	}
}

// TestReaderErrors: what can't be read is named, and what can be skipped is.
func TestReaderErrors(t *testing.T) {
	for _, c := range []struct {
		layout Layout
		text   string
		want   string // what each Read returned
	}{
		{JSON, "", "EOF"},
		{JSON, "\n \r\n", "EOF"},
		{JSON, "{\"body\":\"a\"}\nno\n\n{\"body\":\"b\"}\n", "a, line 2: column 1: 'n' is where '{' has to be; b, EOF"},
		{JSON, "{\"body\":\"a\"}\n{\"body\":\"b", "a, line 2: column 9: the string that begins here has no end; EOF"},
		{Lines, "a\n\nb", "a, , b, EOF"},
		{Lines, "a\n", "a, EOF"},
		{Raw, "a\nb\n", "a\nb\n, EOF"},
		{Raw, "", ", EOF"},
		{LengthPrefixed, "\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00", "a, , message 3: the file ends in the middle of it"},
		{LengthPrefixed, "Message 1", "message 1: its length is 1298494323 bytes, and 1073741824 are the most: is this a file with lengths?"},
	} {
		r := NewReader(iotest.OneByteReader(strings.NewReader(c.text)), Format{Layout: c.layout})
		var got strings.Builder
		records, numbers := make([]Record, 3), make([]uint64, 3)
		for {
			n, err := r.Read(records, numbers)
			for _, rec := range records[:n] {
				got.Write(rec.Body)
				got.WriteString(", ")
			}
			if err == nil {
				continue
			}
			got.WriteString(err.Error())
			if _, skip := errors.AsType[*MessageError](err); !skip {
				break
			}
			got.WriteString("; ")
		}
		if got.String() != c.want {
			t.Errorf("%s of %q:\n got %s\nwant %s", c.layout, c.text, got.String(), c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]Layout{
		"a.ndjson": JSON, "a.jsonl.gz": JSON, "a.JSON.zst": JSON, "a.txt": Lines, "a.gz": Lines, "a": Lines, "json": Lines,
	} {
		if got := LayoutOf(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	r := Record{Body: []byte("Message 123456"), RoutingKey: "orders"}
	file := bytes.Repeat(Append(nil, &r), 10000)
	records, numbers := make([]Record, 500), make([]uint64, 500)
	b.ReportAllocs()
	b.SetBytes(int64(len(file)) / 10000)
	read := 0
	for read < b.N {
		r := NewReader(bytes.NewReader(file), Format{Layout: JSON})
		for {
			n, err := r.Read(records, numbers)
			read += n
			if err != nil {
				break
			}
		}
	}
}
