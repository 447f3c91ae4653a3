package main

import (
	"testing"

	"github.com/thumpmq/thump"
)

func deliveries(first, n int) []thump.Delivery {
	var d []thump.Delivery
	for i := first; i < first+n; i++ {
		d = append(d, thump.Delivery{Body: appendBody(nil, i)})
	}
	return d
}

func TestTakeAll(t *testing.T) {
	for _, first := range []int{1, 5, 95, 99_950, 99_999_950, 123_456_700} {
		check := newBodyCheckAfter(first - 1)
		for batch := range 3 {
			if err := check.takeAll(deliveries(first+100*batch, 100)); err != nil {
				t.Fatalf("from %d on: %v", first, err)
			}
		}
		if check.count != first-1+300 {
			t.Errorf("from %d on: count is %d, expected %d", first, check.count, first-1+300)
		}
	}
}

func TestTakeAllRefuses(t *testing.T) {
	for name, spoil := range map[string]func(d []thump.Delivery) []thump.Delivery{
		"lost":      func(d []thump.Delivery) []thump.Delivery { return append(d[:50:50], d[51:]...) },
		"repeated":  func(d []thump.Delivery) []thump.Delivery { return append(d[:51:51], d[50:]...) },
		"reordered": func(d []thump.Delivery) []thump.Delivery { d[50], d[51] = d[51], d[50]; return d },
		"damaged":   func(d []thump.Delivery) []thump.Delivery { d[50].Body[3] ^= 1; return d },
		"longer":    func(d []thump.Delivery) []thump.Delivery { d[50].Body = append(d[50].Body, ' '); return d },
		"empty":     func(d []thump.Delivery) []thump.Delivery { d[50].Body = nil; return d },
	} {
		t.Run(name, func(t *testing.T) {
			check := newBodyCheckAfter(1000)
			if err := check.takeAll(spoil(deliveries(1001, 100))); err == nil {
				t.Error("it was taken for right")
			}
			if want := 1050; check.count != want && check.count != want+1 {
				t.Errorf("count is %d, expected %d or one more", check.count, want)
			}
		})
	}
}
