package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// written is a run file of a run with samples and events, and the run.
func written(t *testing.T) (string, *Run) {
	t.Helper()
	r := &Run{
		Command: "run", Verdict: OK, StartedAt: "2026-01-02T03:04:05Z", Settings: Settings{Queue: "a\x1b[31m", Kind: Classic},
		Sent: new(uint64(20)), Confirmed: new(uint64(20)), LostMessages: []string{"1-2"},
		Samples: []Sample{
			{Seconds: 1, Sent: 10, ConfirmLatency: &Percentiles{Count: 1, P50: 0.25}},
			{Seconds: 2, Sent: 20, Confirmed: 7, Received: 5, Broker: &BrokerSample{Ready: new(uint64(2)), Alarms: []string{"disk"}}},
		},
		Events: []Event{{Seconds: 1.5, Kind: Disconnected, Text: "connection lost"}},
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Begin(r)
	w.Sample(&r.Samples[0])
	w.Event(&r.Events[0])
	w.Sample(&r.Samples[1])
	w.End(r)
	if err := w.Err(); err != nil || w.Empty() {
		t.Fatal(err)
	}
	return b.String(), r
}

// readText reads a file with that text.
func readText(t *testing.T, text string) (*Record, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "run.ndjson")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadFile(name)
}

func TestRunFile(t *testing.T) {
	text, r := written(t)
	if strings.Contains(text, "\x1b") {
		t.Errorf("a terminal obeys %q", text)
	}
	rec, err := readText(t, text+text)
	if err != nil || len(rec.Runs) != 2 || rec.Verdict != OK || !reflect.DeepEqual(rec.Runs[0], r) || !reflect.DeepEqual(rec.Runs[1], r) {
		t.Errorf("came back as %+v, %v", rec, err)
	}
}

// TestRunFileOfASearch: what a search has found is in the file after its runs, and is nothing
// without one.
func TestRunFileOfASearch(t *testing.T) {
	text, _ := written(t)
	found := &Search{Limits: []string{"p99<20ms"}, Rate: new(1000.0), Confirmations: 2, Why: "p99 is \x1b"}
	var b bytes.Buffer
	NewWriter(&b).Search(found)
	rec, err := readText(t, text+text+b.String())
	if err != nil || len(rec.Runs) != 2 || !reflect.DeepEqual(rec.Search, found) || strings.Contains(b.String(), "\x1b") {
		t.Errorf("came back as %+v, %v, of %q", rec, err, b.String())
	}
	if rec, err := readText(t, b.String()); err == nil {
		t.Errorf("without a run it is %+v", rec)
	}
}

// TestReadFileOfJSON reads what --json writes, as it is and in one line.
func TestReadFileOfJSON(t *testing.T) {
	_, r := written(t)
	var b, compact bytes.Buffer
	if err := New(r).Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&compact, b.Bytes()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{b.String(), compact.String(), compact.String() + "\n"} {
		rec, err := readText(t, text)
		if err != nil || rec.Version != Version || rec.Verdict != OK || len(rec.Runs) != 1 || !reflect.DeepEqual(rec.Runs[0], r) {
			t.Errorf("%.60q came back as %+v, %v", text, rec, err)
		}
	}
}

// TestKilledRunFile cuts a run file off at every byte: what is there is read, and the run
// is not finished before its last.
func TestKilledRunFile(t *testing.T) {
	text, _ := written(t)
	begun := strings.Index(text, "\n") + 1
	for length := range len(text) + 1 {
		rec, err := read(strings.NewReader(text[:length]))
		if length < begun {
			if err == nil {
				t.Fatalf("%d bytes are read as %+v", length, rec)
			}
			continue
		}
		if err != nil || len(rec.Runs) != 1 {
			t.Fatalf("%d bytes: %+v, %v", length, rec, err)
		}
		r, lines := rec.Runs[0], strings.Count(text[:length], "\n")
		finished := lines == strings.Count(text, "\n")
		if (r.Verdict == Unfinished) == finished || rec.Verdict != r.Verdict || r.Settings.Kind != Classic {
			t.Fatalf("%d bytes: verdict %s, %+v", length, r.Verdict, r)
		}
		if wantSamples := []int{0, 1, 1, 2, 2}[lines-1]; len(r.Samples) != wantSamples {
			t.Fatalf("%d bytes: %d samples, want %d", length, len(r.Samples), wantSamples)
		}
		if lines == 4 && (*r.Sent != 20 || *r.Confirmed != 7 || *r.Received != 5 || r.Reason == nil) {
			t.Fatalf("%d bytes: %+v", length, r)
		}
	}
}

// TestNextRunAfterAKilledOne is not taken for the killed one.
func TestNextRunAfterAKilledOne(t *testing.T) {
	text, r := written(t)
	half := text[:strings.LastIndex(strings.TrimSpace(text), "\n")+1]
	rec, err := readText(t, half+text)
	if err != nil || len(rec.Runs) != 2 || rec.Runs[0].Verdict != Unfinished || rec.Verdict != Unfinished || !reflect.DeepEqual(rec.Runs[1], r) {
		t.Errorf("came back as %+v, %v", rec, err)
	}
}

func TestNoRunFile(t *testing.T) {
	text, _ := written(t)
	begin, rest, _ := strings.Cut(text, "\n")
	for _, text := range []string{
		"", "\n", "{}", "[]", "null", "0", "x", `{"version":2,"begin":{}}` + "\n", `{"version":1}` + "\n", "<html>\n<body>\n",
		rest, begin + "\nx\n" + rest, begin + "\n[]\n", begin + "\n" + `{"version":1,"sample":[]}` + "\n",
		`{"version":1,"runs":{}}`, `{"version":1,"runs":[1]}`, `{"version":1,"runs":[{}`, `{"version":1,"runs":[{"samples":{}}]}`,
	} {
		if rec, err := readText(t, text); err == nil {
			t.Errorf("%q is read as %+v", text, rec)
		}
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
}

// TestHostileFiles holds what a file of some megabytes can make the reader keep.
func TestHostileFiles(t *testing.T) {
	begin := `{"version":1,"begin":{}}` + "\n"
	many := func(text string) string { return strings.Repeat(text+",", 1<<20) + text }
	for name, text := range map[string]string{
		"samples":         `{"version":1,"runs":[{"samples":[` + many("{}") + `]}]}`,
		"events":          `{"version":1,"runs":[{"events":[` + many("{}") + `]}]}`,
		"runs":            `{"version":1,"runs":[` + many("{}") + `]}`,
		"lost":            `{"version":1,"runs":[{"lost_messages":[` + many(`""`) + `]}]}`,
		"samples of end":  begin + `{"version":1,"end":{"samples":[` + many("{}") + `]}}` + "\n",
		"alarms":          begin + `{"version":1,"sample":{"broker":{"alarms":[` + many(`""`) + `]}}}` + "\n",
		"lines of begin":  strings.Repeat(begin, 1<<16),
		"a long line":     begin + strings.Repeat(" ", lineMost+1<<20) + "\n",
		"a deep object":   strings.Repeat("[", 1<<20),
		"a deep run":      `{"version":1,"runs":[{"samples":` + strings.Repeat("[", 1<<20),
		"no end of a key": `{"` + strings.Repeat("x", 1<<20),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		rec, err := read(strings.NewReader(text))
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
			t.Errorf("%s: %d bytes are kept of %d, %v", name, grown, len(text), err)
		}
		runtime.KeepAlive(rec)
		runtime.KeepAlive(text)
	}
}

// full is a disk that takes some lines.
type full struct{ lines int }

func (f *full) Write(p []byte) (int, error) {
	if f.lines--; f.lines < 0 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestWriterOnAFullDisk(t *testing.T) {
	w := NewWriter(&full{lines: 2})
	for range 5 {
		w.Sample(new(Sample))
	}
	if err := w.Err(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
	var none *Writer
	none.Begin(new(Run))
	none.Sample(new(Sample))
	none.Event(new(Event))
	none.End(new(Run))
	if none.Err() != nil {
		t.Error("no writer fails")
	}
}

func TestWriterRefusesWhatItCouldNotRead(t *testing.T) {
	w := NewWriter(new(bytes.Buffer))
	if w.End(&Run{Reason: new(strings.Repeat("x", lineMost))}); w.Err() == nil {
		t.Error("a line that is too long is written")
	}
}

// TestCourse adds up what no sample may lose, however many there are.
func TestCourse(t *testing.T) {
	for _, n := range []int{0, 1, SamplesMost, SamplesMost + 1, 3*SamplesMost + 7, 20 * SamplesMost} {
		var c Course
		for i := range n {
			c.Add(Sample{
				Seconds: float64(i + 1), Sent: uint64(i + 1), ConfirmLatency: &Percentiles{Count: 1, Max: float64(i)},
				Client: ClientSample{CPU: new(1.0), GCPauseSeconds: new(1.0)},
			})
		}
		samples := c.Samples()
		if len(samples) > SamplesMost || n > SamplesMost && len(samples) <= SamplesMost/2 {
			t.Fatalf("%d become %d", n, len(samples))
		}
		var count uint64
		var pauses, last float64
		for _, s := range samples {
			count, pauses = count+s.ConfirmLatency.Count, pauses+*s.Client.GCPauseSeconds
			if s.Seconds <= last || s.Sent != uint64(s.Seconds) || s.ConfirmLatency.Max != s.Seconds-1 || *s.Client.CPU != 1 {
				t.Fatalf("%d: %+v after %v", n, s, last)
			}
			last = s.Seconds
		}
		if count != uint64(n) || pauses != float64(n) || last != float64(n) {
			t.Errorf("%d become %d, %v, %v", n, count, pauses, last)
		}
	}
}

func TestMerge(t *testing.T) {
	known := Sample{
		Seconds: 1, ConfirmLatency: &Percentiles{Count: 3, P50: 5, P95: 6, P99: 7, P999: 8, Max: 9},
		Client: ClientSample{CPU: new(2.0), GCPauseSeconds: new(0.5)},
		Broker: &BrokerSample{CPU: new(3.0), Flow: new(uint64(4)), Blocked: new(uint64(0)), Ready: new(uint64(1))},
	}
	unknown := Sample{Seconds: 2}
	for _, pair := range [][2]*Sample{{&known, &unknown}, {&unknown, &known}} {
		got := Merge(pair[0], pair[1])
		want := known
		want.Seconds = pair[1].Seconds
		if !reflect.DeepEqual(got, want) {
			t.Errorf("with an unknown one: %+v", got)
		}
	}
	other := Sample{
		Seconds: 3, ConfirmLatency: &Percentiles{Count: 1, P50: 1, P95: 7, P99: 7, P999: 7, Max: 7},
		Client: ClientSample{CPU: new(1.0), GCPauseSeconds: new(0.25)},
		Broker: &BrokerSample{CPU: new(1.0), Flow: new(uint64(1)), Blocked: new(uint64(2)), Ready: new(uint64(7))},
	}
	got, err := json.Marshal(Merge(&known, &other))
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(Sample{
		Seconds: 3, ConfirmLatency: &Percentiles{Count: 4, P50: 5, P95: 7, P99: 7, P999: 8, Max: 9},
		Client: ClientSample{CPU: new(1.5), GCPauseSeconds: new(0.75)},
		Broker: &BrokerSample{CPU: new(2.0), Flow: new(uint64(4)), Blocked: new(uint64(2)), Ready: new(uint64(7))},
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if fmt.Sprint(*known.Broker.Flow, *other.Broker.CPU) != "4 1" {
		t.Error("it has changed what it was given")
	}
}

// TestMergeHidesNothing: what only one of many samples has is still there when they have become
// one, and each of them weighs the same.
func TestMergeHidesNothing(t *testing.T) {
	one := Sample{}
	for i := range 8 {
		s := Sample{
			LateSeconds: new(0.0), Client: ClientSample{CPU: new(0.0), MemoryBytes: new(uint64(10))},
			Broker: &BrokerSample{MemoryBytes: new(uint64(20)), Alarms: []string{"disk"}},
		}
		if i == 2 {
			s = Sample{
				LateSeconds: new(2.5), Client: ClientSample{CPU: new(8.0), MemoryBytes: new(uint64(30))},
				Broker: &BrokerSample{CPU: new(4.0), MemoryBytes: new(uint64(40)), Alarms: []string{"memory", "disk"}},
			}
		}
		if i == 6 { // a broker is asked less often
			s.Broker.CPU = new(2.0)
		}
		one = Merge(&one, &s)
	}
	got, want := fmt.Sprintf("%.3f %.3f %d %.3f %d %v", *one.LateSeconds, *one.Client.CPU, *one.Client.MemoryBytes, *one.Broker.CPU, *one.Broker.MemoryBytes, one.Broker.Alarms),
		"2.500 1.000 30 3.000 40 [disk memory]"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
