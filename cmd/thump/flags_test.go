package main

import (
	"math"
	"strconv"
	"testing"
)

func TestCountFlag(t *testing.T) {
	for text, want := range map[string]uint64{
		"1": 1, "1000000": 1000000, "1_000_000": 1000000, "10k": 10000, "10K": 10000, "1m": 1000000, "2g": 2000000000,
	} {
		var f countFlag
		if err := f.Set(text); err != nil || uint64(f) != want {
			t.Errorf("%q is %d, %v; want %d", text, f, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "+1", "1.5", "1e6", "k", "1kb", "1 000", "999999g", "18446744073709551616", "0x10"} {
		f := countFlag(7)
		if err := f.Set(text); err == nil || f != 7 {
			t.Errorf("%q is accepted as %d", text, f)
		}
	}
}

func TestBodyFlag(t *testing.T) {
	for text, want := range map[string]int{
		"tutorial": 0, "16": 16, "100": 100, "100b": 100, "1KiB": 1024, "10kb": 10000, "10k": 10000, "1MiB": 1 << 20, "2mb": 2000000,
	} {
		f := bodyFlag(5)
		if err := f.Set(text); err != nil || int(f) != want {
			t.Errorf("%q is %d, %v; want %d", text, f, err, want)
		}
	}
	for _, text := range []string{"", "15", "0", "-100", "1GiB", "big", "Tutorial", "1000mb"} {
		f := bodyFlag(5)
		if err := f.Set(text); err == nil || f != 5 {
			t.Errorf("%q is accepted as %d", text, f)
		}
	}
}

func TestParseScaledOverflow(t *testing.T) {
	most := strconv.FormatUint(math.MaxUint64, 10)
	if n, err := parseScaled(most, map[string]uint64{"": 1}); n != math.MaxUint64 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := parseScaled(most+"k", map[string]uint64{"k": 1000}); err == nil {
		t.Error("an overflow is accepted")
	}
}
