package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/thumpmq/thump"
)

// TestOutletSyncs: several consumers write and sync at a time, over several files. Once a Sync
// has returned, the disk has what was written before it; and nothing is missing in the end.
func TestOutletSyncs(t *testing.T) {
	t.Parallel()
	const writers, writes, each = 4, 200, 10
	files := outputFiles{name: filepath.Join(t.TempDir(), "out-%d.txt"), splitAt: 10_000}
	o, err := openOutlet(t.Context(), files, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				var deliveries []thump.Delivery
				for j := range each {
					deliveries = append(deliveries, thump.Delivery{Body: fmt.Appendf(nil, "%d-%d-%d", w, i, j)})
				}
				if err := o.Write(&thump.Batch{}, deliveries); err != nil {
					t.Error(err)
				}
				o.mu.Lock()
				file, written := o.file, o.written+int64(len(o.buffer))
				o.mu.Unlock()
				if err := o.Sync(); err != nil {
					t.Error(err)
				}
				o.mu.Lock()
				if o.file == file && o.safe < written {
					t.Errorf("a sync has returned, and %d bytes of %d are safe", o.safe, written)
				}
				o.mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for n := 1; n <= o.number; n++ {
		text, err := os.ReadFile(fmt.Sprintf(files.name, n))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			seen[line] = true
		}
	}
	if len(seen) != writers*writes*each || o.number < 2 {
		t.Errorf("%d lines are in %d files", len(seen), o.number)
	}
}

// TestOutletSyncFails: the disk tells a Sync that it has lost what was written, and does not
// tell it again to whoever ends the file meanwhile.
func TestOutletSyncFails(t *testing.T) {
	t.Parallel()
	files := outputFiles{name: filepath.Join(t.TempDir(), "out-%d.txt"), splitAt: 10}
	o, err := openOutlet(t.Context(), files, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Write(&thump.Batch{}, []thump.Delivery{{Body: []byte("short")}}); err != nil {
		t.Fatal(err)
	}
	file, written, err := o.flushAll()
	if err != nil || file == nil {
		t.Fatal(file, err)
	}
	if err := o.Write(&thump.Batch{}, []thump.Delivery{{Body: []byte("and long enough")}}); err != nil || o.number != 2 {
		t.Fatal(o.number, err)
	}
	if err := o.synced(file, written, syscall.EIO); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), file.Name()) {
		t.Errorf("got %v, want that %s is not written", err, file.Name())
	}
	if err := o.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("then %v", err)
	}
	if err := o.close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("in the end %v", err)
	}
}
