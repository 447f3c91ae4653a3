package result

import (
	"errors"
	"strings"
	"testing"
)

func TestCondition(t *testing.T) {
	r := &Run{
		SendRatePerSecond: new(50_000.0), Lost: new(uint64(0)), ClientRSSPeakBytes: new(uint64(2_000_000_000)),
		ConfirmLatency: &Latency{Percentiles: Percentiles{Count: 1, P99: 0.02, P999: 0.03}},
	}
	for text, want := range map[string]bool{
		"send_rate<50k": false, "send_rate <= 50k": true, "send_rate>=50000": true, "send_rate>0.05m": false, "send_rate!=50k": false,
		"p99>20ms": false, "p99>19.9ms": true, "p99.9>20ms": true, "confirm_p99==20ms": true, "p99>0": true,
		"lost>0": false, "lost==0": true, "memory>1GB": true, "memory>3000000000": false,
	} {
		c, err := ParseCondition(text)
		if err != nil {
			t.Error(err)
			continue
		}
		if holds, err := c.Holds(r); err != nil || holds != want {
			t.Errorf("%s: %v, %v", text, holds, err)
		}
		if c.String() != strings.ReplaceAll(text, " ", "") {
			t.Errorf("%s shows itself as %s", text, c)
		}
	}
	c, err := ParseCondition("receive_p99>20ms")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Holds(r); !errors.Is(err, ErrNotMeasured) {
		t.Errorf("what was not measured: %v", err)
	}
}

func TestBadCondition(t *testing.T) {
	for text, want := range map[string]string{
		"":               "must be a figure",
		"p99":            "must be a figure",
		"p98>20ms":       `no figure "p98"; there are send_rate, receive_rate`,
		"p99>20":         "must be a time",
		"p99>20k":        "must be a time",
		"p99>-1s":        "must be a time",
		"send_rate<":     "must be a number",
		"send_rate<1h":   "must be a number",
		"send_rate<-1":   "must be a number",
		"send_rate<NaN":  "must be a number",
		"send_rate<1e+3": "must be a number",
		"memory>1GiB":    "must be a size",
		"lost>>0":        "must be a number",
		">5":             `no figure ""`,
	} {
		if _, err := ParseCondition(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestFigures: names differ, and no figure minds a run that measured nothing.
func TestFigures(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Figures() {
		if seen[f.Name] || f.Of(&Run{}) != nil {
			t.Errorf("%s: %v", f.Name, f.Of(&Run{}))
		}
		seen[f.Name] = true
	}
}
