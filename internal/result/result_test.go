package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestJSONKeys holds the keys that other programs read: they are promised, in
// the record as it is when nothing is known.
func TestJSONKeys(t *testing.T) {
	promised := []string{
		"version", "verdict", "settings", "broker", "sent", "confirmed", "rejected", "returned",
		"unknown", "received", "unique", "lost", "duplicated", "reordered", "corrupted", "unexpected",
		"send_seconds", "receive_seconds", "total_seconds", "send_rate_per_second",
		"receive_rate_per_second", "client_cpu_seconds", "broker_cpu_seconds", "client_rss_peak_bytes",
		"bytes_on_wire", "compression_ratio",
	}
	var b bytes.Buffer
	if err := (&Result{Version: Version}).Write(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range promised {
		if _, ok := got[key]; !ok {
			t.Errorf("no key %q", key)
		}
	}
	for _, key := range []string{"sent", "lost", "broker_cpu_seconds", "send_rate_per_second", "bytes_on_wire"} {
		if string(got[key]) != "null" {
			t.Errorf("%s is %s, want null", key, got[key])
		}
	}
	var settings map[string]any
	if err := json.Unmarshal(got["settings"], &settings); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"queue", "kind", "sub_entry", "compression", "partitions"} {
		if _, ok := settings[key]; !ok {
			t.Errorf("no key settings.%s", key)
		}
	}
	var broker map[string]any
	if err := json.Unmarshal(got["broker"], &broker); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"version", "private"} {
		if _, ok := broker[key]; !ok {
			t.Errorf("no key broker.%s", key)
		}
	}
}

func TestSetIsAsBadAsItsWorstRun(t *testing.T) {
	tests := []struct {
		verdicts []Verdict
		want     Verdict
	}{
		{nil, OK},
		{[]Verdict{OK, OK, OK}, OK},
		{[]Verdict{OK, Interrupted}, Interrupted},
		{[]Verdict{Failed, Interrupted}, Failed},
		{[]Verdict{Interrupted, Failed, OK}, Failed},
		{[]Verdict{Failed, Violated, Interrupted}, Violated},
	}
	for _, tt := range tests {
		var runs []*Result
		for _, v := range tt.verdicts {
			runs = append(runs, &Result{Version: Version, Verdict: v})
		}
		set := NewSet(runs)
		if set.Verdict != tt.want {
			t.Errorf("%v: got %s, want %s", tt.verdicts, set.Verdict, tt.want)
		}
		var b bytes.Buffer
		if err := set.Write(&b); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Version int
			Verdict Verdict
			Runs    []struct{ Verdict Verdict }
		}
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Version != Version || got.Verdict != tt.want || len(got.Runs) != len(tt.verdicts) {
			t.Errorf("%v: written as %s", tt.verdicts, &b)
		}
	}
}

func TestWriteReadRoundTrip(t *testing.T) {
	r := &Result{Version: Version, Verdict: OK, Sent: new(uint64(3)), SendSeconds: new(0.25), LostMessages: []string{"1-2"}}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	back, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if *back.Sent != 3 || *back.SendSeconds != 0.25 || !slices.Equal(back.LostMessages, r.LostMessages) || back.Lost != nil {
		t.Errorf("came back as %+v", back)
	}
	if !strings.HasSuffix(text, "}\n") {
		t.Errorf("ends in %q", text[len(text)-2:])
	}
}

func TestReadRefusesOtherVersions(t *testing.T) {
	for _, text := range []string{`{"version":2}`, `{"version":0}`, `{}`, `[]`, ``} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestJudge(t *testing.T) {
	broken := errors.New("connection lost")
	tests := []struct {
		name        string
		result      Result
		ended       error
		interrupted bool
		want        Verdict
		reason      string
	}{
		{name: "ok", want: OK},
		{name: "reordered is no violation", result: Result{Reordered: new(uint64(5))}, want: OK},
		{name: "lost", result: Result{Lost: new(uint64(2)), Duplicated: new(uint64(1))}, want: Violated, reason: "2 lost, 1 duplicated"},
		{name: "violation outweighs failure", result: Result{Corrupted: new(uint64(1))}, ended: broken, want: Violated, reason: "1 corrupted"},
		{name: "violation outweighs interrupt", result: Result{Unexpected: new(uint64(1))}, interrupted: true, want: Violated, reason: "1 unexpected"},
		{name: "failed", ended: broken, want: Failed, reason: "connection lost"},
		{name: "interrupted", interrupted: true, want: Interrupted, reason: "interrupted"},
		{name: "rejected", result: Result{Rejected: new(uint64(7))}, want: Failed, reason: "the broker did not confirm 7 messages: 7 rejected, 0 returned, 0 unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.result.Judge(tt.ended, tt.interrupted)
			reason := ""
			if tt.result.Reason != nil {
				reason = *tt.result.Reason
			}
			if tt.result.Verdict != tt.want || reason != tt.reason {
				t.Errorf("got %s %q, want %s %q", tt.result.Verdict, reason, tt.want, tt.reason)
			}
		})
	}
}

func TestRate(t *testing.T) {
	if Rate(nil, new(1.0)) != nil || Rate(new(uint64(1)), nil) != nil || Rate(new(uint64(1)), new(0.0)) != nil {
		t.Error("a rate out of nothing")
	}
	if got := Rate(new(uint64(10)), new(4.0)); *got != 2.5 {
		t.Errorf("got %v, want 2.5", *got)
	}
}
