package version

import "testing"

// TestCompare compares versions as brokers write them.
func TestCompare(t *testing.T) {
	for _, test := range []struct {
		version         string
		major, minor    int
		atLeast, before bool
	}{
		{"3.10.8", 3, 10, true, false},
		{"3.9.0", 3, 10, false, true},
		{"3.13.7", 3, 11, true, false},
		{"4.0.5", 3, 13, true, false},
		{"4.3.6", 4, 3, true, false},
		{"4.3.6", 5, 0, false, true},
		{"4.3.0-beta.2", 4, 3, true, false},
		{"4.3", 4, 3, true, false},
		{"10.0.0", 4, 3, true, false},
		{"", 3, 9, false, false},
		{"4", 3, 9, false, false},
		{"x.y.z", 3, 9, false, false},
	} {
		if got := AtLeast(test.version, test.major, test.minor); got != test.atLeast {
			t.Errorf("%q is at least %d.%d: %v", test.version, test.major, test.minor, got)
		}
		if got := Before(test.version, test.major, test.minor); got != test.before {
			t.Errorf("%q is before %d.%d: %v", test.version, test.major, test.minor, got)
		}
	}
}
