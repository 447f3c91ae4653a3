package dump_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/dump"
	"github.com/thumpmq/thump/internal/version"
)

// superStream is a super stream with these binding keys, which is deleted after the test. Each of its
// partitions has another limit.
func superStream(t testing.TB, client *thump.Client, keys ...string) dump.Definition {
	t.Helper()
	d := dump.Definition{Name: queueName(t, client, "super"), Kind: dump.SuperStream}
	for i, key := range keys {
		d.Partitions = append(d.Partitions, dump.Partition{
			Partition: thump.Partition{Name: d.Name + "-" + key, BindingKey: key, Known: true},
			Arguments: thump.NewTable("x-max-length-bytes", int64(1_000_000_000+i), "x-max-age", "86400s"),
		})
	}
	t.Cleanup(func() { remove(client, &d) })
	return d
}

// remove deletes a super stream, which RabbitMQ before 3.13 has no command for.
func remove(client *thump.Client, d *dump.Definition) {
	for _, name := range d.Streams() {
		_ = client.DeleteStream(context.Background(), name)
	}
	_ = client.DeleteExchange(context.Background(), d.Name, thump.DeleteOptions{})
}

func saveSuper(t testing.TB, client *thump.Client, name string) []byte {
	t.Helper()
	d, err := dump.DescribeSuperStream(t.Context(), client, name)
	if err != nil || d.Partial != "" {
		t.Fatalf("%+v, %v", d, err)
	}
	file, err := saveAll(t, client, dump.Saving{From: d})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func saveAll(t testing.TB, client *thump.Client, s dump.Saving) ([]byte, error) {
	t.Helper()
	var out bytes.Buffer
	s.Out, s.Progress = &out, new(dump.Progress)
	_, err := dump.Save(t.Context(), client, s)
	return out.Bytes(), err
}

func restore(t testing.TB, client *thump.Client, file []byte, to dump.Definition) (dump.Restored, error) {
	t.Helper()
	return dump.Restore(t.Context(), client, dump.Restoring{
		From: bytes.NewReader(file), Contents: verify(t, file), To: to, Progress: new(dump.Progress),
	})
}

// TestSuperRoundTrip: a super stream that is dumped, deleted, restored and dumped again is the same, with
// what it and its partitions were declared with, and so is a copy under another name.
func TestSuperRoundTrip(t *testing.T) {
	t.Parallel()
	const count = 1500
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		client := dial(t, b)
		random := messages{Rand: rand.New(rand.NewPCG(seed, 0)), userID: user(t, b), kind: dump.Stream, version: client.Server().Version}
		keys := []string{"eu", "us", "asia"} // in no order of letters
		if version.AtLeast(client.Server().Version, 3, 11) {
			keys = append(keys, "empty") // before, a stream can't say that it is
		}
		super := superStream(t, client, keys...)
		if err := super.Declare(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		for i, name := range super.Streams() {
			if i < 3 {
				publish(t, client, thump.Stream(name), uint64(count+i), random.next)
			}
		}
		first := saveSuper(t, client, super.Name)
		contents := verify(t, first)
		if contents.Messages != 3*count+3 || contents.InPartition[super.Name+"-asia"] != count+2 || contents.InPartition[super.Name+"-empty"] != 0 {
			t.Fatalf("%+v", contents)
		}
		remove(client, &super)
		to := contents.Header.Queue
		copied := superStream(t, client, keys...)
		for range 2 {
			if there, err := to.IsThere(t.Context(), client); there || err != nil {
				t.Fatal(there, err)
			}
			if err := to.Declare(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			if there, err := to.IsThere(t.Context(), client); !there || err != nil {
				t.Fatal(there, err)
			}
			if restored, err := restore(t, client, first, to); err != nil || restored.Confirmed != contents.Messages {
				t.Fatalf("%+v, %v", restored, err)
			}
			second := saveSuper(t, client, to.Name)
			compareLines(t, bytes.ReplaceAll(first, []byte(super.Name), []byte(to.Name)), second)
			if got := verify(t, second).Digest; got != contents.Digest {
				t.Errorf("the digest is %s, and was %s", got, contents.Digest)
			}
			// And once more, which adds nothing.
			if restored, err := restore(t, client, first, to); err != nil || restored.Confirmed != 0 || restored.There != contents.Messages {
				t.Fatalf("%+v, %v", restored, err)
			}
			if err := to.Rename(copied.Name); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestSuperStreamThere: a super stream is only put into if it is the one of the dump; what was not made
// to its end is made.
func TestSuperStreamThere(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		client, ctx := dial(t, b), t.Context()
		refused := func(d dump.Definition, want string) {
			t.Helper()
			if there, err := d.IsThere(ctx, client); there || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, %v; want %q", there, err, want)
			}
		}
		check := func(d dump.Definition, want bool) {
			t.Helper()
			if there, err := d.IsThere(ctx, client); there != want || err != nil {
				t.Errorf("%v, %v; want %v", there, err, want)
			}
		}
		d := superStream(t, client, "0", "1", "2")
		check(d, false)
		if err := client.DeclareExchange(ctx, thump.ExchangeSpec{Name: d.Name, Kind: "direct"}); err != nil {
			t.Fatal(err)
		}
		refused(d, "is an exchange, and no super stream")
		// Its making was cut short, in two places.
		for _, p := range d.Partitions {
			if err := client.DeclareStream(ctx, thump.StreamSpec{Name: p.Name, MaxBytes: p.Arguments[0].Value.(int64), MaxAge: 24 * time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		check(d, false)
		if err := client.Bind(ctx, thump.Binding{Source: d.Name, Queue: d.Partitions[0].Name, RoutingKey: "0", Arguments: thump.NewTable("x-stream-partition-order", int64(0))}); err != nil {
			t.Fatal(err)
		}
		check(d, false)
		if err := d.Declare(ctx, client); err != nil {
			t.Fatal(err)
		}
		check(d, true)
		got, err := dump.DescribeSuperStream(ctx, client, d.Name)
		if err != nil || got.Partial != "" || fmt.Sprint(got) != fmt.Sprint(d) {
			t.Errorf("%+v, %v; want %+v", got, err, d)
		}

		other := d
		other.Partitions = slices.Clone(d.Partitions)
		other.Partitions[0], other.Partitions[1] = d.Partitions[1], d.Partitions[0]
		refused(other, "is there with other partitions")
		other.Partitions = d.Partitions[:2]
		refused(other, "is there with other partitions")
		other.Partitions = slices.Clone(d.Partitions)
		other.Partitions[2].BindingKey = "zwei"
		refused(other, `(key "zwei")`)
		more := superStream(t, client, "0", "1", "2", "3")
		more.Name, more.Partitions[3].Name = d.Name, d.Name+"-3"
		for i := range d.Partitions {
			more.Partitions[i].Name = d.Partitions[i].Name
		}
		refused(more, "is there with other partitions") // the stream -3 is not there: it was not begun

		// What nobody can know is said, and it is not made of a guess.
		if err := client.Bind(ctx, thump.Binding{Source: d.Name, Queue: d.Partitions[1].Name, RoutingKey: "one"}); err != nil {
			t.Fatal(err)
		}
		got, err = dump.DescribeSuperStream(ctx, client, d.Name)
		if err != nil || !strings.Contains(got.Partial, d.Partitions[1].Name) {
			t.Errorf("%+v, %v", got, err)
		}
		check(got, true)
		remove(client, &got)
		if err := got.Declare(ctx, client); err == nil || !strings.Contains(err.Error(), "is not known") {
			t.Errorf("made without a key: %v", err)
		}
		if err := got.Rename("another"); err != nil || got.Partitions[1].Name != "another-1" {
			t.Errorf("%+v, %v", got, err)
		}
		got.Partitions[1].Name = "elsewhere"
		if err := got.Rename("third"); err == nil || got.Name != "another" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestPartitionDeleted: a dump fails whose partition is deleted while that is read, or before it.
func TestPartitionDeleted(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		for deleted := range 2 {
			client := dial(t, b)
			super := superStream(t, client, "0", "1")
			if err := super.Declare(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			body := make([]byte, 10_000)
			for _, name := range super.Streams() { // more than is on its way at a time
				publish(t, client, thump.Stream(name), 10_000, func() thump.Message { return thump.Message{Body: body} })
			}
			var once sync.Once
			_, err := saveAll(t, client, dump.Saving{From: super, Skip: func(*thump.Delivery) (bool, error) {
				once.Do(func() {
					if err := client.DeleteStream(t.Context(), super.Partitions[deleted].Name); err != nil {
						t.Error(err)
					}
				})
				return true, nil
			}})
			if err == nil || !strings.Contains(err.Error(), super.Partitions[deleted].Name) {
				t.Errorf("partition %d was deleted, and the dump says %v", deleted, err)
			}
			t.Log(err)
		}
	})
}

// TestOtherPartitions: messages whose partition the first line does not name are damage, and so is a
// first line that says nothing sensible of partitions.
func TestOtherPartitions(t *testing.T) {
	t.Parallel()
	d := superDefinition()
	whole := string(superFile(t, d))
	contents, err := verifyFile([]byte(whole))
	if err != nil || contents.InPartition["s-1"] != 2 || fmt.Sprint(contents.Header.Queue) != fmt.Sprint(d) {
		t.Fatalf("%+v, %v", contents, err)
	}
	for _, change := range [][3]string{
		{`{"stream":"s-0"`, `{"stream":"s-2"`, `line 2: a message of the stream "s-2"`},
		{`{"stream":"s-0"`, `{"stream":"s-1"`, "digest"},
		{`{"stream":"s-0","offset":0,"stored_at":"2023-11-14T22:13:20Z",`, `{`, `line 2: a message of the stream ""`},
		{`"kind":"super-stream"`, `"kind":"stream"`, "nothing else has"},
		{`{"name":"s-1","arguments":{}}`, `{"name":"s-0","arguments":{}}`, "that of another"},
		{`{"name":"s-1","arguments":{}}`, `{"name":"","arguments":{}}`, "no name"},
		{`"name":"s-1","arguments":{}`, `"name":"s-1"`, "arguments"},
		{`,"partitions":[{"name":"s-0","binding_key":"0","arguments":{}},{"name":"s-1","arguments":{}}]`, ``, "has partitions"},
		{`{"name":"s-1","arguments":{}}`, strings.Repeat(`{"name":"s-1","arguments":{}},`, 1000) + `{"name":"s-1","arguments":{}}`, "at most 1000"},
	} {
		changed := strings.Replace(whole, change[0], change[1], 1)
		if changed == whole {
			t.Errorf("%s is not in %s", change[0], whole)
		}
		if _, err := verifyFile([]byte(changed)); err == nil || !strings.Contains(err.Error(), change[2]) {
			t.Errorf("%.60s: %v, want %q", change[1], err, change[2])
		}
	}
	for bit := range 8 * len(whole) {
		damaged := []byte(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := verifyFile(damaged); err == nil {
			t.Errorf("bit %d was turned, and the dump is said to be whole", bit)
		}
	}
	// The same messages in other partitions are not the same.
	d.Partitions[0], d.Partitions[1] = d.Partitions[1], d.Partitions[0]
	if other := verify(t, superFile(t, d)); other.Digest == contents.Digest {
		t.Error("the digest does not tell partitions apart")
	}
}

// superDefinition is a super stream of which no broker knows.
func superDefinition() dump.Definition {
	return dump.Definition{Name: "s", Kind: dump.SuperStream, Partitions: []dump.Partition{
		{Partition: thump.Partition{Name: "s-0", BindingKey: "0", Known: true}}, {Partition: thump.Partition{Name: "s-1"}},
	}}
}

// superFile is a dump of one, with two messages in each partition.
func superFile(t testing.TB, d dump.Definition) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := dump.NewWriter(&out, "", dump.Header{Queue: d})
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{"s-0", "s-1"} {
		for i := range uint64(2) {
			batch := &thump.Batch{Stream: stream, StoredAt: time.UnixMilli(1_700_000_000_000)}
			if err := w.Write(batch, &thump.Delivery{Body: []byte("body"), Offset: i}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestMixedPartitions: a dump that somebody has put together, with the partitions by turns, is restored
// as well, and once.
func TestMixedPartitions(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		client := dial(t, b)
		super := superStream(t, client, "0", "1")
		if err := super.Declare(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w, err := dump.NewWriter(&out, "", dump.Header{Queue: super})
		if err != nil {
			t.Fatal(err)
		}
		const count = 60
		for i := range count {
			batch := &thump.Batch{Stream: super.Partitions[i/3%2].Name, StoredAt: time.Now()}
			if err := w.Write(batch, &thump.Delivery{Body: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(2) {
			restored, err := restore(t, client, out.Bytes(), super)
			if err != nil || restored.Confirmed != count*(1-i) || restored.There != count*i {
				t.Fatalf("%+v, %v", restored, err)
			}
		}
		file := string(saveSuper(t, client, super.Name))
		at := 0
		for partition := range 2 {
			for i := range count {
				if i/3%2 != partition {
					continue
				}
				next := strings.Index(file[at:], fmt.Sprintf(`"body":"%d"`, i))
				if next < 0 {
					t.Fatalf("message %d is not where it has to be", i)
				}
				at += next
			}
		}
	})
}

// TestElsewhere: a dump of a super stream goes into a stream or queue, one partition after another, and
// no dump of anything else into a super stream.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		client := dial(t, b)
		super := superStream(t, client, "0", "1")
		if err := super.Declare(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, name := range super.Streams() {
			publish(t, client, thump.Stream(name), 500, func() thump.Message {
				n++
				return thump.Message{Body: fmt.Append(nil, n)}
			})
		}
		file := saveSuper(t, client, super.Name)
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum, dump.Stream} {
			to := dump.Definition{Name: queueName(t, client, string(kind)), Kind: kind}
			declareQueue(t, client, to.Spec())
			if restored, err := restore(t, client, file, to); err != nil || restored.Confirmed != 1000 {
				t.Fatalf("%s: %+v, %v", kind, restored, err)
			}
			again := save(t, client, to.Name)
			for i, line := range strings.Split(string(again), "\n")[1:1001] {
				if !strings.Contains(line, fmt.Sprintf(`"body":"%d"`, i+1)) {
					t.Fatalf("%s: message %d is %s", kind, i+1, line)
				}
			}
			if _, err := restore(t, client, again, super); err == nil || !strings.Contains(err.Error(), "other partitions") {
				t.Errorf("%s: into a super stream: %v", kind, err)
			}
		}
	})
}
