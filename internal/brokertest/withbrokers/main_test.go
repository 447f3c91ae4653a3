package main

import "testing"

func TestInSeries(t *testing.T) {
	for _, test := range []struct {
		version, series string
		want            bool
	}{
		{"4.0.5", "4.0", true},
		{"4.1.0", "4.0", false},
		{"4.3.6", "4.3+", true},
		{"4.10.0", "4.3+", true},
		{"5.0.0", "4.3+", true},
		{"4.2.9", "4.3+", false},
		{"3.13.7", "4.3+", false},
		{"", "4.0", false},
	} {
		if got := inSeries(test.version, test.series); got != test.want {
			t.Errorf("inSeries(%q, %q) = %v, want %v", test.version, test.series, got, test.want)
		}
	}
}
