package ledger

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestSizedChecksumIsCRC32C(t *testing.T) {
	plans := []Plan{{Count: 100, Publishers: 1}, {Count: MaxCount, Publishers: 1}, {Count: MaxCount, Publishers: MaxPublishers}}
	for _, size := range []int{16, 17, 24, 1000} {
		for _, plan := range plans {
			f := mustSized(t, plan, size)
			for _, publisher := range []int{0, plan.Publishers / 3, plan.Publishers - 1} {
				own := plan.Range(publisher)
				for sequence := uint64(1); sequence <= own.Len(); sequence = sequence*3 + 1 {
					n := own.First + sequence - 1
					got, want := f.Append(nil, n), plainAppend(nil, &f, n)
					if !bytes.Equal(got, want) {
						t.Fatalf("%d bytes, %+v, %d\n got %x\nwant %x", size, plan, n, got, want)
					}
					if got, class := f.Parse(want); got != n || class != Ours {
						t.Fatalf("%d bytes, %+v, %d: parses as %d, class %d", size, plan, n, got, class)
					}
				}
			}
		}
	}
}

func TestAppendRunIsAppend(t *testing.T) {
	plan := Plan{Count: MaxCount, Publishers: 2}
	formats := []Format{Tutorial(plan), mustSized(t, plan, 16), mustSized(t, plan, 100), mustMix(t, plan)}
	starts := []uint64{1, 95, 1<<16 - 50, 99_999_950, 1<<32 - 50, 999_999_999_950, plan.Range(0).Last - 99, plan.Range(1).First, MaxCount - 99}
	for _, f := range formats {
		for _, first := range starts {
			want, wantEnds := []byte("before"), []int{4, 6}
			for n := range uint64(100) {
				want = f.Append(want, first+n)
				wantEnds = append(wantEnds, len(want))
			}
			got, ends := f.AppendRun([]byte("before"), first, 100, []int{4, 6})
			if !bytes.Equal(got, want) {
				t.Errorf("size %d from %d\n got %q\nwant %q", f.MaxSize(), first, got, want)
			}
			if len(ends) != len(wantEnds) {
				t.Fatalf("size %d from %d: %d ends, want %d", f.MaxSize(), first, len(ends), len(wantEnds))
			}
			for i := range ends {
				if ends[i] != wantEnds[i] {
					t.Fatalf("size %d from %d: body %d ends at %d, want %d", f.MaxSize(), first, i, ends[i], wantEnds[i])
				}
			}
		}
		if got, ends := f.AppendRun([]byte("x"), 1, 0, nil); string(got) != "x" || len(ends) != 0 {
			t.Errorf("a run of none is %q, %v", got, ends)
		}
	}
}

// TestSizedForgedFiller has a body whose filler was changed together with its
// checksum, which passes; what is wrong in the next one must still be seen.
func TestSizedForgedFiller(t *testing.T) {
	f := mustSized(t, Plan{Count: 10, Publishers: 1}, 24)
	forged := f.Append(nil, 2)
	forged[20] ^= 1
	binary.BigEndian.PutUint32(forged[12:], f.sized.checksumOf(forged))
	next := f.Append(nil, 3)
	damaged := bytes.Clone(next)
	flip := readHeader(forged).sum ^ readHeader(f.Append(nil, 2)).sum
	binary.BigEndian.PutUint32(damaged[12:], readHeader(damaged).sum^flip)

	l := New(f)
	c := l.Consumer()
	for _, body := range [][]byte{f.Append(nil, 1), forged, damaged, next} {
		c.Add(body, false)
	}
	c.Commit()
	if got, want := l.totals, (Totals{Received: 4, Unique: 3, Corrupted: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
