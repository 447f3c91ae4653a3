package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestJSONKeys holds the keys that other programs read: all are there, even when
// nothing is known.
func TestJSONKeys(t *testing.T) {
	var b bytes.Buffer
	if err := New(new(Run)).Write(&b); err != nil {
		t.Fatal(err)
	}
	var record map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &record); err != nil {
		t.Fatal(err)
	}
	checkKeys(t, "", record, "version", "verdict", "runs", "search")
	var runs []map[string]json.RawMessage
	if err := json.Unmarshal(record["runs"], &runs); err != nil || len(runs) != 1 {
		t.Fatalf("runs is %s, %v", record["runs"], err)
	}
	run := runs[0]
	checkKeys(t, "runs.0.", run,
		"command", "verdict", "reason", "started_at", "settings", "broker", "sent", "confirmed", "rejected", "returned",
		"unknown", "skipped", "received", "unique", "expired", "lost", "duplicated", "reordered", "corrupted", "unexpected",
		"resent", "duplicated_resent", "duplicated_redelivered", "redelivered", "requeued", "dropped", "gets", "empty_gets", "outages", "first_outage_at",
		"outage_seconds", "longest_outage_seconds", "away_at_end", "send_seconds", "receive_seconds", "total_seconds", "send_rate_per_second",
		"receive_rate_per_second", "client_cpu_seconds", "broker_cpu_seconds", "client_rss_peak_bytes",
		"bytes_on_wire", "compression_ratio", "backlog_at_send_end", "left_in_queue", "lost_messages",
		"late_seconds", "not_sent", "untimed", "confirm_latency", "receive_latency", "samples", "events")
	for _, key := range []string{"reason", "sent", "lost", "broker_cpu_seconds", "send_rate_per_second", "bytes_on_wire"} {
		if string(run[key]) != "null" {
			t.Errorf("%s is %s, want null", key, run[key])
		}
	}
	var settings, broker map[string]json.RawMessage
	if err := json.Unmarshal(run["settings"], &settings); err != nil {
		t.Fatal(err)
	}
	checkKeys(t, "runs.0.settings.", settings,
		"thump_version", "processors", "url", "stream_url", "queue", "kind", "durable", "count", "body", "body_bytes",
		"publishers", "consumers", "window", "prefetch", "confirms", "auto_ack", "sequential", "partitions",
		"sub_entry", "compression", "publisher_name", "consumer_name", "offset", "until", "stream_max_bytes",
		"disk_bytes", "disk_free_bytes", "recovery", "give_up_seconds", "output", "rate", "arrivals", "duration_seconds",
		"work", "requeue_share", "reject_share", "queues", "exchange", "exchange_type", "routing_keys", "copies",
		"priorities", "consume_rate", "warm_up_seconds", "incompressible",
		"ttl_seconds", "poll", "poll_interval_seconds", "exchange_existed")
	if err := json.Unmarshal(run["broker"], &broker); err != nil {
		t.Fatal(err)
	}
	checkKeys(t, "runs.0.broker.", broker, "product", "version", "private")
}

// checkKeys wants the object to have these keys and no others.
func checkKeys(t *testing.T, where string, object map[string]json.RawMessage, want ...string) {
	t.Helper()
	for _, key := range want {
		if _, ok := object[key]; !ok {
			t.Errorf("no key %s%s", where, key)
		}
	}
	if len(object) != len(want) {
		t.Errorf("%s has %d keys, want %d", where, len(object), len(want))
	}
}

func TestRecordIsAsBadAsItsWorstRun(t *testing.T) {
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
		var runs []*Run
		for _, v := range tt.verdicts {
			runs = append(runs, &Run{Verdict: v})
		}
		rec := New(runs...)
		if rec.Verdict != tt.want {
			t.Errorf("%v: got %s, want %s", tt.verdicts, rec.Verdict, tt.want)
		}
		var b bytes.Buffer
		if err := rec.Write(&b); err != nil {
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
	r := &Run{Verdict: OK, Sent: new(uint64(3)), SendSeconds: new(0.25), LostMessages: []string{"1-2"}}
	var b bytes.Buffer
	if err := New(r).Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	rec, err := Read(&b)
	if err != nil || len(rec.Runs) != 1 {
		t.Fatalf("came back as %+v, %v", rec, err)
	}
	if back := rec.Runs[0]; *back.Sent != 3 || *back.SendSeconds != 0.25 || !slices.Equal(back.LostMessages, r.LostMessages) || back.Lost != nil {
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
		result      Run
		ended       error
		interrupted bool
		want        Verdict
		reason      string
	}{
		{name: "ok", want: OK},
		{name: "reordered is no violation", result: Run{Reordered: new(uint64(5))}, want: OK},
		{name: "lost", result: Run{Lost: new(uint64(2)), Duplicated: new(uint64(1))}, want: Violated, reason: "2 lost, 1 duplicated"},
		{name: "duplicated and explained", result: Run{Duplicated: new(uint64(5)), DuplicatedResent: new(uint64(3)), DuplicatedRedelivered: new(uint64(2))}, want: OK},
		{name: "duplicated and not all explained", result: Run{Duplicated: new(uint64(5)), DuplicatedResent: new(uint64(4))}, want: Violated, reason: "1 duplicated, which no outage explains"},
		{name: "violation outweighs failure", result: Run{Corrupted: new(uint64(1))}, ended: broken, want: Violated, reason: "1 corrupted"},
		{name: "violation outweighs interrupt", result: Run{Unexpected: new(uint64(1))}, interrupted: true, want: Violated, reason: "1 unexpected"},
		{name: "failed", ended: broken, want: Failed, reason: "connection lost"},
		{name: "interrupted", interrupted: true, want: Interrupted, reason: "interrupted"},
		{name: "rejected", result: Run{Rejected: new(uint64(7))}, want: Failed, reason: "the broker did not confirm every message: 7 rejected, 0 returned, 0 unknown"},
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

// TestJSONIsShown: nothing in the JSON is obeyed by a terminal, and all of it comes
// back.
func TestJSONIsShown(t *testing.T) {
	const hostile = "\x1b[31m\u009b31m\r\n\x7f\u202e\u2028\U000e0001\u00a0 größe 兔 \\u001b"
	r := &Run{Reason: new(hostile), Broker: Broker{Product: hostile}, LostMessages: []string{hostile}}
	var b bytes.Buffer
	if err := New(r).Write(&b); err != nil {
		t.Fatal(err)
	}
	if text := strings.ReplaceAll(b.String(), "\n", ""); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("got %q", b.String())
	}
	if !strings.Contains(b.String(), "größe 兔") {
		t.Errorf("what can be seen is escaped: %s", &b)
	}
	rec, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got := rec.Runs[0]; *got.Reason != hostile || got.Broker.Product != hostile || got.LostMessages[0] != hostile {
		t.Errorf("came back as %+v", got)
	}
}
