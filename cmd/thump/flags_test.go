package main

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/thumpmq/thump"
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

func TestSizeFlag(t *testing.T) {
	for text, want := range map[string]uint64{
		"40MB": 40e6, "40000000": 40e6, "500mb": 500e6, "10GB": 10e9, "10 GiB": 10 << 30, "2T": 2e12,
	} {
		var f sizeFlag
		if err := f.Set(text); err != nil || uint64(f) != want {
			t.Errorf("%q is %d, %v; want %d", text, f, err, want)
		}
	}
	for _, text := range []string{"", "0", "39999999", "1kb", "-100MB", "big", "1.5GB", "99999999TB"} {
		f := sizeFlag(7)
		if err := f.Set(text); err == nil || f != 7 {
			t.Errorf("%q is accepted as %d", text, f)
		}
	}
}

func TestOffsetFlag(t *testing.T) {
	for text, want := range map[string]struct {
		start  thump.Start
		offset uint64
	}{
		"first":                {thump.FromFirst(), 0},
		"last":                 {thump.FromLastChunk(), 0},
		"next":                 {thump.FromNext(), 0},
		"0":                    {thump.FromOffset(0), 0},
		"1200":                 {thump.FromOffset(1200), 1200},
		"-1000":                {thump.FromLast(1000), 0},
		"2026-11-23T10:00:00Z": {thump.FromTime(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)), 0},
		"2026-11-23T12:00:00+02:00": {
			thump.FromTime(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)), 0,
		},
	} {
		var f offsetFlag
		if err := f.Set(text); err != nil || f.start != want.start || f.offset != want.offset || f.String() != text {
			t.Errorf("%q is %v, offset %d, %v", text, f.start, f.offset, err)
		}
	}
	for _, text := range []string{"", "-0", "--1", "-", "1.5", "First", "9223372036854775808", "-9223372036854775808", "2026-11-23", "10:00", "now"} {
		var f offsetFlag
		if err := f.Set(text); err == nil {
			t.Errorf("%q is accepted as %v", text, f.start)
		}
	}
	if got := new(offsetFlag).String(); got != "first" {
		t.Errorf("without the flag it begins with %q", got)
	}
}

func TestUntilFlag(t *testing.T) {
	var f untilFlag
	if err := f.Set("2026-11-23T10:00:00Z"); err != nil || !f.time.Equal(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("got %v, %v", f.time, err)
	}
	before := time.Now()
	if err := f.Set("now"); err != nil || f.time.Before(before) || f.time.After(time.Now()) || f.String() != "now" {
		t.Errorf("now is %v, %v", f.time, err)
	}
	for _, text := range []string{"", "tomorrow", "10s", "2026-11-23"} {
		if err := f.Set(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestCompressionFlag(t *testing.T) {
	for _, text := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		var f compressionFlag
		if err := f.Set(text); err != nil || f.String() != text {
			t.Errorf("%q is %v, %v", text, &f, err)
		}
	}
	for _, text := range []string{"", "brotli", "0", "zip"} {
		var f compressionFlag
		if err := f.Set(text); err == nil {
			t.Errorf("%q is accepted", text)
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
