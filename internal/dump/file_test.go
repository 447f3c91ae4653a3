package dump_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/dump"
)

// file is a dump with some messages, which no broker has seen.
func file(t testing.TB, compression string, count int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := dump.NewWriter(&out, compression, dump.Header{Queue: dump.Definition{
		Name: "q", Kind: thump.Quorum, Arguments: thump.NewTable("x-max-length", int64(10)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		var batch *thump.Batch
		if i%2 == 1 { // as of a stream
			batch = &thump.Batch{Stream: `s"tored_at`, StoredAt: time.UnixMilli(1_700_000_000_000 + int64(i))}
		}
		d := &thump.Delivery{Body: fmt.Appendf(nil, "message %d, \xff", i), RoutingKey: "q", Redelivered: true, Offset: uint64(i)}
		if err := w.Write(batch, d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func verifyFile(file []byte) (dump.Contents, error) {
	return dump.Verify(bytes.NewReader(file), new(dump.Progress), nil)
}

// TestDamagedFile: whichever bit of a dump is turned, it is found out; and a dump that is cut
// anywhere is cut short or damaged.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"", "zstd", "gzip"} {
		t.Run("compression-"+compression, func(t *testing.T) {
			t.Parallel()
			whole := file(t, compression, 20)
			if c, err := verifyFile(whole); err != nil || c.Messages != 20 || c.Header.Queue.Kind != thump.Quorum || len(c.Header.Queue.Arguments) != 1 {
				t.Fatalf("%+v, %v", c, err)
			}
			for bit := range 8 * len(whole) {
				damaged := bytes.Clone(whole)
				damaged[bit/8] ^= 1 << (bit % 8)
				if c, err := verifyFile(damaged); err == nil && !same(t, damaged, whole) {
					t.Errorf("bit %d was turned, and the dump is said to be whole: %+v", bit, c)
				}
			}
			for end := range len(whole) {
				if _, err := verifyFile(whole[:end]); err == nil && !same(t, whole[:end], whole) {
					t.Errorf("cut after %d of %d bytes, the dump is said to be whole", end, len(whole))
				}
			}
		})
	}
}

// same reports whether two files hold the same: there are bits in compressed files that mean
// nothing.
func same(t *testing.T, a, b []byte) bool {
	t.Helper()
	x, errX := verifyFile(a)
	y, errY := verifyFile(b)
	return errX == nil && errY == nil && x.Digest == y.Digest && x.Messages == y.Messages
}

// TestCutShort: the messages before the cut are there, and counted.
func TestCutShort(t *testing.T) {
	t.Parallel()
	whole := file(t, "", 20)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	cut := bytes.Join(lines[:11], nil)
	for _, more := range []string{"", `{"body":"ha`} {
		c, err := verifyFile(append(bytes.Clone(cut), more...))
		if !errors.Is(err, dump.ErrCutShort) || c.Messages != 10 {
			t.Errorf("%q: %d messages, %v", more, c.Messages, err)
		}
	}
}

// TestOthersFiles: what is no dump is told from one, and what follows one is damage.
func TestOthersFiles(t *testing.T) {
	t.Parallel()
	whole := string(file(t, "", 3))
	header, rest, _ := strings.Cut(whole, "\n")
	for _, test := range []struct{ file, want string }{
		{"", "no dump of thump"},
		{"hello\n", "no dump of thump"},
		{`{"body":"a record"}` + "\n", "no dump of thump"},
		{strings.Replace(header, `"thump_dump":1`, `"thump_dump":2`, 1) + "\n" + rest, "a newer one wrote it"},
		{strings.Replace(header, `"x-max-length":10`, `"x-max-length":{"int8":1000}`, 1) + "\n" + rest, "arguments"},
		{whole + "\n", "follows its last line"},
		{whole + whole, "follows its last line"},
		{header + "\n" + `{"thump_dump_end":null}` + "\n", "says nothing"},
		{header + "\n" + `{"body":"unsaid"}` + "\n" + rest, "holds 4 messages, and says that there are 3"},
		{strings.Replace(whole, `"routing_key":"q"`, `"routing_key":"r"`, 1), "digest"},
		{strings.Replace(whole, `"name":"q"`, `"name":"r"`, 1), "digest"},
		{strings.Replace(whole, `"offset":1`, `"offset":7`, 1), "digest"},
		{strings.Replace(whole, `"routing_key"`, `"rooting_key"`, 1), "line 2: column"},
	} {
		if _, err := verifyFile([]byte(test.file)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q: %v, want %q", test.file, err, test.want)
		}
	}
}

// TestAgeWithoutUnit: a dump of RabbitMQ 4.3 once had a stream's age as that tells it, and can't be
// declared with it.
func TestAgeWithoutUnit(t *testing.T) {
	t.Parallel()
	r, err := dump.NewReader(strings.NewReader(`{"thump_dump":1,"queue":{"name":"s","kind":"stream","durable":true,"auto_delete":false,"arguments":{"x-max-age":"86400000"}}}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if age, _ := r.Header.Queue.Arguments.Get("x-max-age"); age != "86400s" {
		t.Errorf("the age is %v", age)
	}
}

// FuzzVerify: no file is too much.
func FuzzVerify(f *testing.F) {
	for _, compression := range []string{"", "zstd", "gzip"} {
		f.Add(file(f, compression, 5))
	}
	f.Add(superFile(f, superDefinition()))
	f.Fuzz(func(_ *testing.T, file []byte) { _, _ = verifyFile(file) })
}

// TestRandomDamage turns some bits of larger files.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for _, compression := range []string{"", "zstd", "gzip"} {
		whole := file(t, compression, 2000)
		for range 100 {
			damaged := bytes.Clone(whole)
			damaged[random.IntN(len(whole))] ^= 1 << random.IntN(8)
			if _, err := verifyFile(damaged); err == nil && !same(t, damaged, whole) {
				t.Errorf("seed %d, compression %q: a bit was turned, and the dump is said to be whole", seed, compression)
			}
		}
	}
}

// TestChangedFile: a file that is not what it was when it was verified is an error, though all that it
// has, up to there, is put back.
func TestChangedFile(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	client := dial(t, b)
	was := file(t, "", 3)
	for name, is := range map[string][]byte{"longer": file(t, "", 4), "shorter": file(t, "", 2), "cut short": was[:len(was)/2], "as long": bytes.Replace(was, []byte(`"routing_key":"q"`), []byte(`"routing_key":"r"`), 1)} {
		t.Run(name, func(t *testing.T) {
			queue := queueName(t, client, strings.ReplaceAll(name, " ", "-"))
			declareQueue(t, client, thump.QueueSpec{Name: queue})
			to, err := dump.Describe(t.Context(), client, queue)
			if err != nil {
				t.Fatal(err)
			}
			restored, err := dump.Restore(t.Context(), client, dump.Restoring{From: bytes.NewReader(is), Contents: verify(t, was), To: to, Progress: new(dump.Progress)})
			if err == nil || !strings.Contains(err.Error(), "the file is not what it was when it was verified") {
				t.Errorf("%+v, %v", restored, err)
			}
		})
	}
}
