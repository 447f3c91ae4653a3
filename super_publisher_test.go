package thump

import (
	"slices"
	"strconv"
	"testing"
)

// TestRoutesAreBounded: one key more than are remembered costs one of the others, and
// not all of them.
func TestRoutesAreBounded(t *testing.T) {
	p := &superPublisher{keys: make(map[string]route)}
	for i := range routesMost + 100 {
		key := strconv.Itoa(i)
		p.remember(key, []string{key})
		if want := min(i+1, routesMost); len(p.keys) != want {
			t.Fatalf("%d keys are remembered after %d, want %d", len(p.keys), i+1, want)
		}
		if !slices.Equal(p.keys[key].to, []string{key}) {
			t.Fatalf("key %s leads to %v", key, p.keys[key].to)
		}
	}
	for key := range p.keys {
		p.remember(key, nil) // it has its place
		break
	}
	if len(p.keys) != routesMost {
		t.Errorf("%d keys are remembered, want %d", len(p.keys), routesMost)
	}
}
