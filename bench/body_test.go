package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/thumpmq/thump"
)

func TestBodyCheckCountsUp(t *testing.T) {
	check := newBodyCheck(100_101)
	var body []byte
	for i := 1; i <= 100_101; i++ {
		body = appendBody(body[:0], i)
		if err := check.take(body); err != nil {
			t.Fatal(err)
		}
	}
	if check.count != 100_101 {
		t.Errorf("count is %d, want 100101", check.count)
	}
	if err := check.take(body); err != nil {
		t.Errorf("what comes after the last: %v, want no word before it is time to ask", err)
	}
	if err := check.ask(); err == nil {
		t.Error("the last body was taken twice")
	}
}

func TestBodyCheckSeesEveryByte(t *testing.T) {
	for _, n := range []int{1, 10, 12345} {
		body := appendBody(nil, n)
		for i := range body {
			check := newBodyCheck(n)
			for before := 1; before < n; before++ {
				check.add(appendBody(nil, before))
			}
			body[i] ^= 1
			if err := check.take(body); err == nil {
				t.Errorf("byte %d of the body of message %d is damaged, and it was taken", i, n)
			}
			body[i] ^= 1
		}
	}
}

func TestBodies(t *testing.T) {
	run := bodyRun{format: tutorial()}
	for _, first := range []int{1, 95, 9_990, 99_999_990, 123_456_789} {
		messages := make([]thump.Message, 200)
		run.fill(messages, first)
		for i := range messages {
			want := fmt.Sprintf("Message %d", first+i)
			if got := string(messages[i].Body); got != want {
				t.Fatalf("body number %d is %q, expected %q", first+i, got, want)
			}
			if got := string(appendBody(nil, first+i)); got != want {
				t.Fatalf("body number %d is %q, expected %q", first+i, got, want)
			}
		}
	}
}

func TestBodyCheckRefuses(t *testing.T) {
	for name, bodies := range map[string][]string{
		"lost":      {"Message 1", "Message 3"},
		"repeated":  {"Message 1", "Message 1"},
		"reordered": {"Message 2", "Message 1"},
		"damaged":   {"Message 1 "},
		"empty":     {""},
		"foreign":   {"Hello World!"},
	} {
		t.Run(name, func(t *testing.T) {
			check := newBodyCheck(len(bodies))
			var err error
			for _, body := range bodies {
				err = check.take([]byte(body))
			}
			if err == nil {
				t.Error("it was taken for right")
			}
		})
	}
}

// allBodies are bodies 1 to n.
func allBodies(n int) [][]byte {
	var bodies [][]byte
	for i := range n {
		bodies = append(bodies, appendBody(nil, i+1))
	}
	return bodies
}

// A message that is lost leaves one delivery too few, and must show before the
// receiver waits for that.
func TestBodyCheckSeesALossInTime(t *testing.T) {
	const total = 2500
	bodies := allBodies(total)
	for lost := range total - 1 {
		check := newBodyCheck(total)
		var err error
		for i, body := range bodies {
			if i == lost {
				continue
			}
			if err = check.take(body); err != nil {
				break
			}
		}
		if err == nil {
			t.Fatalf("message %d of %d is lost, and all others were taken", lost+1, total)
		}
	}
}

// Batches are looked at as a whole.
func TestBodyCheckRefusesInBatches(t *testing.T) {
	for name, spoil := range map[string]func(d [][]byte) [][]byte{
		"lost":      func(d [][]byte) [][]byte { return slices.Delete(d, 1550, 1551) },
		"repeated":  func(d [][]byte) [][]byte { d[1551] = d[1550]; return d },
		"reordered": func(d [][]byte) [][]byte { d[1550], d[1551] = d[1551], d[1550]; return d },
		"damaged":   func(d [][]byte) [][]byte { d[1550][3] ^= 1; return d },
		"longer":    func(d [][]byte) [][]byte { d[1550] = append(d[1550], ' '); return d },
		"empty":     func(d [][]byte) [][]byte { d[1550] = nil; return d },
	} {
		t.Run(name, func(t *testing.T) {
			check := newBodyCheck(10_000)
			var err error
			for batch := range slices.Chunk(spoil(allBodies(5000)), 100) {
				for _, body := range batch {
					check.add(body)
				}
				if err = check.err(); err != nil {
					break
				}
			}
			if err == nil {
				t.Error("it was taken for right")
			}
			if check.count < 1500 || check.count > 1550+askEvery+100 {
				t.Errorf("it was noticed after %d deliveries", check.count)
			}
		})
	}
}

// BenchmarkBodyCheck is what the check of batches costs.
func BenchmarkBodyCheck(b *testing.B) {
	batch := make([]thump.Delivery, benchMessages)
	for i, body := range allBodies(benchMessages) {
		batch[i].Body = body
	}
	for b.Loop() {
		check := newBodyCheck(benchMessages)
		for d := range slices.Chunk(batch, 500) {
			for i := range d {
				check.add(d[i].Body)
			}
			if err := check.err(); err != nil {
				b.Fatal(err)
			}
		}
	}
	perMessage(b)
}
