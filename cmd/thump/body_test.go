package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
)

func TestBodiesFlag(t *testing.T) {
	var send load.SendConfig
	f := bodiesFlag{&send}
	for _, text := range []string{"100b:80%,10kb:20%", "1KiB:0.5%, 16:99.5%"} {
		if err := f.Set(text); err != nil || f.String() != text || send.BodyBytes != 0 || len(send.Sizes.Shares) != 2 {
			t.Errorf("%q: %v, %+v", text, err, send)
		}
	}
	if want := []load.Share{{Bytes: 1024, Weight: 0.5}, {Bytes: 16, Weight: 99.5}}; !slices.Equal(send.Sizes.Shares, want) {
		t.Errorf("got %v", send.Sizes.Shares)
	}
	if err := f.Set("100..10kb"); err != nil || len(send.Sizes.Shares) != sizesOfRange {
		t.Fatalf("got %v, %v", send.Sizes, err)
	}
	if s := send.Sizes.Shares; s[0].Bytes != 100 || s[len(s)-1].Bytes != 10_000 {
		t.Errorf("got %v", s)
	}
	if err := f.Set("16..18"); err != nil || len(send.Sizes.Shares) != 3 {
		t.Errorf("got %v, %v", send.Sizes, err)
	}
	if err := f.Set("100"); err != nil || send.BodyBytes != 100 || send.Sizes.Shares != nil || f.String() != "100" {
		t.Errorf("%v, %+v", err, send)
	}
	if err := f.Set("tutorial"); err != nil || send.BodyBytes != 0 || f.String() != "tutorial" {
		t.Errorf("%v, %+v", err, send)
	}
	for _, text := range []string{"", "x", "100:80", "100:80%,", "10:50%", "tutorial:5%", "100:0%", "100:101%", "100:NaN%", "100..100", "1kb..100", "tutorial..100", "..", "100..1gb"} {
		if err := f.Set(text); err == nil {
			t.Errorf("%q is taken: %+v", text, send)
		}
	}
}

// TestSizesOfRangeInManual: the manual says how many sizes a range has.
func TestSizesOfRangeInManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/load.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("--body 100b..10kb                # of %d sizes ", sizesOfRange); !strings.Contains(string(text), want) {
		t.Errorf("docs/load.md has no %q", want)
	}
}
