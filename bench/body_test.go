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
