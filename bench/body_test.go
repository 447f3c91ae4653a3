package main

import "testing"

func TestBodyCheckCountsUp(t *testing.T) {
	check := newBodyCheck()
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
}

// The words of the check reach to 16 bytes, "Message 99999999".
func TestBodyCheckBeyondTwoWords(t *testing.T) {
	check := newBodyCheckAfter(99_999_988)
	var body []byte
	for i := 99_999_989; i <= 100_000_020; i++ {
		body = appendBody(body[:0], i)
		if err := check.take(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := check.take(body); err == nil {
		t.Error("a long body was taken twice")
	}
}

func TestBodyCheckSeesEveryByte(t *testing.T) {
	for _, n := range []int{1, 10, 1234567, 99_999_999, 123_456_789} {
		body := appendBody(nil, n)
		for i := range body {
			body[i] ^= 1
			if err := newBodyCheckAfter(n - 1).take(body); err == nil {
				t.Errorf("byte %d of the body of message %d is damaged, and it was taken", i, n)
			}
			body[i] ^= 1
		}
	}
}

func TestBodiesFrom(t *testing.T) {
	for _, first := range []int{1, 95, 9_990, 99_999_990, 123_456_789} {
		source := bodiesFrom(first)
		var body []byte
		for i := first; i < first+200; i++ {
			body = source.append(body[:0])
			if want := appendBody(nil, i); string(body) != string(want) {
				t.Fatalf("body number %d is %q, expected %q", i, body, want)
			}
		}
	}
}

func BenchmarkBodyCheck(b *testing.B) {
	const messages = 10_000
	var text []byte
	var ends []int
	for i := 1; i <= messages; i++ {
		text = appendBody(text, 1_000_000+i)
		ends = append(ends, len(text))
	}
	b.ReportAllocs()
	for b.Loop() {
		check := newBodyCheckAfter(1_000_000)
		start := 0
		for _, end := range ends {
			if err := check.take(text[start:end]); err != nil {
				b.Fatal(err)
			}
			start = end
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
}

func TestBodyCheckRefuses(t *testing.T) {
	for name, bodies := range map[string][]string{
		"lost":      {"Message 1", "Message 3"},
		"repeated":  {"Message 1", "Message 1"},
		"reordered": {"Message 2"},
		"damaged":   {"Message 1 "},
		"empty":     {""},
	} {
		t.Run(name, func(t *testing.T) {
			check := newBodyCheck()
			var err error
			for _, body := range bodies {
				err = check.take([]byte(body))
			}
			if err == nil {
				t.Error("it was taken for right")
			}
			if check.count != len(bodies)-1 {
				t.Errorf("count is %d, want %d", check.count, len(bodies)-1)
			}
		})
	}
}
