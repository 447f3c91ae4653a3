package thump

import (
	"errors"
	"sync"
	"testing"

	"github.com/thumpmq/thump/internal/window"
)

// TestFinishLeavesNothing: whatever a publisher that ends accepts until it has ended gets an
// outcome. It must refuse first, and then give what it has up.
func TestFinishLeavesNothing(t *testing.T) {
	for range 300 {
		p := &amqpPublisher{window: window.New(window.Config{Messages: 1 << 20, Keep: true}), ended: make(chan struct{})}
		accepts := func() bool {
			p.window.Lock()
			defer p.window.Unlock()
			if p.window.Free() == 0 {
				return false
			}
			p.window.Accept(window.Tag{}, []byte("a message"))
			return true
		}
		begun := make(chan struct{})
		var accepting sync.WaitGroup
		accepting.Go(func() {
			accepts()
			close(begun)
			for accepts() {
			}
		})
		<-begun
		p.finish(errors.New("it can't come back"))
		accepting.Wait()
		if totals := p.window.Totals(); totals.InFlight() != 0 || totals.Unknown != totals.Published {
			t.Fatalf("of %d messages %d have no outcome", totals.Published, totals.InFlight())
		}
	}
}
