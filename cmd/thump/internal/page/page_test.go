package page

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/latency"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// longRun makes a plausible run: a rate that is asked for, an outage, an alarm, a queue that
// fills and drains.
func longRun(seconds int, rate float64, prefetch int) *result.Run {
	random := rand.New(rand.NewPCG(7, uint64(prefetch)))
	r := &result.Run{
		Command: "run", Verdict: result.OK, StartedAt: "2026-03-14T15:09:26Z",
		Settings: result.Settings{
			ThumpVersion: "0.1.0", URL: "amqp://guest:***@localhost:5672", Queue: "orders", Kind: result.Quorum, Durable: new(true),
			Body: "100 bytes", BodyBytes: 100, Publishers: 2, Consumers: 4, Window: 10000, Prefetch: prefetch, Confirms: true, Recovery: true, GiveUpSeconds: 60,
		},
		Broker: result.Broker{Product: "RabbitMQ", Version: "4.3.6"},
	}
	confirms, receives, c, v := latency.New(), latency.New(), latency.New(), latency.New()
	var sent, received float64
	for s := 1; s <= seconds; s++ {
		t := float64(s) / float64(seconds)
		in, out := rate*(1+0.04*random.NormFloat64()), rate*0.93*(1+0.05*random.NormFloat64())
		if t > 0.7 {
			in = 0
		}
		if t > 0.40 && t < 0.43 {
			in, out = 0, 0
		}
		sent += max(0, in)
		received = min(sent, received+max(0, out))
		sample := result.Sample{Seconds: float64(s) + 0.003*random.Float64(), Sent: uint64(sent), Confirmed: uint64(sent * 0.9999), Received: uint64(received)}
		if t <= 0.7 {
			sample.WantedRate, sample.LateSeconds = &rate, new(math.Abs(0.002*random.NormFloat64()))
		}
		c.Reset()
		v.Reset()
		for range 100 {
			base := 0.0008 * math.Exp(0.4*random.NormFloat64())
			if random.IntN(150) == 0 {
				base *= 20
			}
			c.Record(time.Duration(base*1e9), uint64(rate/100)+1)
			v.Record(time.Duration((base*2+(sent-received)/rate)*1e9), uint64(rate/100)+1)
		}
		if in > 0 {
			sample.ConfirmLatency = c.Percentiles()
			confirms.Add(c)
		}
		if out > 0 {
			sample.ReceiveLatency = v.Percentiles()
			receives.Add(v)
		}
		sample.Client = result.ClientSample{CPU: new(0.3 + 0.02*random.NormFloat64()), MemoryBytes: new(uint64(24e6 + 1e6*random.Float64())), GCPauseSeconds: new(0.0001)}
		sample.Broker = &result.BrokerSample{
			Ready: new(uint64(max(0, sent-received-4000))), Unacked: new(uint64(min(sent-received, 4000))), PublishRate: &in, DeliverRate: &out,
			CPU: new(1.4 + 0.1*random.NormFloat64()), MemoryBytes: new(uint64(180e6 + (sent-received)*180)), DiskFreeBytes: new(uint64(80e9)), Flow: new(uint64(random.IntN(2))), Blocked: new(uint64(0)),
		}
		r.Samples = append(r.Samples, sample)
	}
	end := float64(seconds)
	r.Events = []result.Event{
		{Seconds: 0.40 * end, Kind: result.Disconnected, Text: "publisher 1: connection reset by peer"},
		{Seconds: 0.43 * end, Kind: result.Recovered, Text: "publisher 1, after 18.0 s; 4,096 messages sent again"},
		{Seconds: 0.55 * end, Kind: result.AlarmRaised, Text: "memory"},
		{Seconds: 0.58 * end, Kind: result.AlarmCleared, Text: "memory"},
		{Seconds: 0.70 * end, Kind: result.SendingEnded, Text: "all messages are confirmed"},
	}
	n := uint64(sent)
	for _, p := range []**uint64{&r.Sent, &r.Confirmed, &r.Received, &r.Unique} {
		*p = &n
	}
	for _, p := range []**uint64{&r.Lost, &r.Duplicated, &r.Reordered, &r.Corrupted, &r.Unexpected, &r.Rejected, &r.Returned, &r.Unknown} {
		*p = new(uint64(0))
	}
	r.Settings.Count = n
	r.SendSeconds, r.ReceiveSeconds, r.TotalSeconds = new(0.7*end), new(end), new(end)
	r.SendRatePerSecond, r.ReceiveRatePerSecond = result.Rate(&n, r.SendSeconds), result.Rate(&n, r.ReceiveSeconds)
	r.ClientCPUSeconds, r.BrokerCPUSeconds, r.ClientRSSPeakBytes = new(0.3*end), new(1.4*end), new(uint64(26e6))
	r.BacklogAtSendEnd = new(uint64(sent * 0.07))
	r.ConfirmLatency, r.ReceiveLatency = confirms.Latency(), receives.Latency()
	return r
}

func pageOf(t *testing.T, sources ...compare.Source) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, compare.Groups(sources...)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDepthWhenSendingEnded: at the moment between two samples nobody has asked the broker, and a
// line of what it said goes past it.
func TestDepthWhenSendingEnded(t *testing.T) {
	r := &result.Run{
		Sent: new(uint64(200)), Confirmed: new(uint64(200)), BacklogAtSendEnd: new(uint64(190)),
		Events: []result.Event{{Seconds: 1.5, Kind: result.SendingEnded}},
	}
	for i, ready := range []uint64{100, 50} {
		r.Samples = append(r.Samples, result.Sample{
			Seconds: float64(i + 1), Sent: 200, Received: 10, Broker: &result.BrokerSample{Ready: &ready, Unacked: &ready, MemoryBytes: &ready},
		})
	}
	c := newCourse("r", r)
	for _, key := range []string{"ready", "unacked"} {
		if got := fmt.Sprint(c.columns[key].values, len(c.asked(key, key, "").points)); got != "[100 NaN 50] 2" {
			t.Errorf("%s: %s", key, got)
		}
	}
	if got := fmt.Sprint(c.columns["waiting"].values); got != "[190 190 190]" {
		t.Errorf("waiting: %s", got)
	}
	// What was received in the millisecond before the end is no rate.
	r.Events[0].Seconds, r.Samples[0].Received, r.Samples[1].Received = 1.001, 0, 20
	c = newCourse("r", r)
	if got := fmt.Sprint(c.columns["received"].values); got != "[0 20 20]" {
		t.Errorf("received a second: %s", got)
	}
}

// TestExpiredDoNotWait: what has expired is neither waiting nor received.
func TestExpiredDoNotWait(t *testing.T) {
	r := &result.Run{
		Sent: new(uint64(200)), Confirmed: new(uint64(200)), BacklogAtSendEnd: new(uint64(20)),
		Events: []result.Event{{Seconds: 1.5, Kind: result.SendingEnded}},
		Samples: []result.Sample{
			{Seconds: 1, Sent: 150, Received: 10, Expired: 100},
			{Seconds: 2, Sent: 200, Received: 30, Expired: 170},
		},
	}
	for _, test := range []struct {
		samples []result.Sample
		want    map[string]string
	}{
		{r.Samples, map[string]string{"waiting": "[40 20 0]", "received": "[10 20 20]", "expired": "[100 70 70]"}},
		{r.Samples[1:], map[string]string{"waiting": "[20 0]", "received": "[7 40]", "expired": "[113 0]"}}, // all within one
	} {
		r.Samples = test.samples
		c := newCourse("r", r)
		for key, want := range test.want {
			if got := fmt.Sprintf("%.0f", c.columns[key].values); got != want {
				t.Errorf("%s: %s, want %s", key, got, want)
			}
		}
	}
}

// TestSize: a run of ten minutes and 100,000,000 messages takes less than 2 MB.
func TestSize(t *testing.T) {
	page := pageOf(t, compare.Source{Name: "run.json", Runs: []*result.Run{longRun(600, 250_000, 2000)}})
	t.Logf("%d bytes", len(page))
	if len(page) > 2_000_000 {
		t.Errorf("it takes %d bytes", len(page))
	}
	if name := os.Getenv("THUMP_TEST_PAGE"); name != "" {
		if err := os.WriteFile(name, page, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatARecordSaysIsShown: text of a record is text on the page, in every field, and so are
// numbers that no run has.
func TestWhatARecordSaysIsShown(t *testing.T) {
	const hostile = "</script><script>alert(1)</script><img src=http://127.0.0.1:1/x onerror=alert(2)>\"'`\x1b[31m\u202e\xff{{.}}"
	fill := func(v reflect.Value) {}
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString(hostile)
		case reflect.Struct:
			for _, field := range v.Fields() {
				fill(field)
			}
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 3, 3))
			for i := range 3 {
				fill(v.Index(i))
			}
		case reflect.Float64:
			v.SetFloat([]float64{0, -1, math.MaxFloat64, math.SmallestNonzeroFloat64, 5}[rand.IntN(5)]) // JSON has no others
		case reflect.Uint64:
			v.SetUint(math.MaxUint64 >> rand.IntN(64))
		default:
		}
	}
	for range 100 {
		one, other := &result.Run{}, &result.Run{}
		fill(reflect.ValueOf(one).Elem())
		fill(reflect.ValueOf(other).Elem())
		page := pageOf(t, compare.Source{Name: hostile, Runs: []*result.Run{one, other}}, compare.Source{Name: "b", Runs: []*result.Run{one}})
		if n := bytes.Count(page, []byte("<script")); n != 1 {
			t.Fatalf("%d scripts", n)
		}
		for _, bad := range []string{"<img", "NaN%", "Inf%", `"NaN`} {
			if bytes.Contains(page, []byte(bad)) {
				t.Fatalf("the page has %s", bad)
			}
		}
		if i := bytes.IndexFunc(page, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) || r == utf8.RuneError }); i >= 0 {
			t.Fatalf("the page has what nobody sees: %q", page[max(0, i-20):i+20])
		}
	}
}

// TestNothing: a run that measured nothing, or was not even begun, has a page.
func TestNothing(t *testing.T) {
	pageOf(t, compare.Source{Runs: []*result.Run{{}}})
	pageOf(t, compare.Source{Runs: []*result.Run{{}, {Samples: []result.Sample{{}, {}}, Events: []result.Event{{}}}}})
}

// TestManyEvents: a chart marks some of them, and says how many more there are.
func TestManyEvents(t *testing.T) {
	events := []result.Event{{Seconds: 1, Kind: result.Blocked}}
	for i := range 1000 {
		events = append(events, result.Event{Seconds: 1 + float64(i)/1000, Kind: []result.EventKind{result.Disconnected, result.Recovered}[i%2]})
	}
	events = append(events, result.Event{Seconds: 5, Kind: result.Unblocked})
	c := &chart{Note: "First."}
	c.mark(events, axis{high: 10})
	if len(c.Marks) != marksMost || len(c.Bands) != 1+marksMost/2 || c.Note != "First. Only the first 200 events are marked: 802 more are in the list below." {
		t.Errorf("%d marks, %d bands, %q", len(c.Marks), len(c.Bands), c.Note)
	}
	if b := c.Bands[0]; b.X != "1000" || b.Width != "4000" {
		t.Errorf("blocked from 1 s to 5 s of 10 is %+v", b)
	}
	few := &chart{}
	few.mark(events[:100], axis{high: 10})
	if few.Note != "" || few.Bands[0].Width != "9000" {
		t.Errorf("%q, %+v", few.Note, few.Bands[0])
	}
}

// TestHistogramWithNothingInIt: the percentiles beside it are shown.
func TestHistogramWithNothingInIt(t *testing.T) {
	r := &result.Run{ConfirmLatency: &result.Latency{Percentiles: result.Percentiles{Count: 5, P50: 0.1, P99: 0.125, Max: 0.2}, Histogram: latency.New().Encode()}}
	page := pageOf(t, compare.Source{Runs: []*result.Run{r, r}})
	if !bytes.Contains(page, []byte("125&nbsp;ms")) {
		t.Errorf("the page has no p99: %s", page[bytes.Index(page, []byte("<main")):])
	}
}

// TestLongRun: however many samples there are, a page shows as many as a screen can, and no
// message is missing from them.
func TestLongRun(t *testing.T) {
	r := longRun(1300, 10_000, 2000)
	c := newCourse("r1", r)
	if len(c.samples) > pointsMost || c.every != 3 {
		t.Errorf("%d samples, of %d each", len(c.samples), c.every)
	}
	var sent, before float64
	for i, rate := range c.columns["sent"].values {
		sent += rate * (c.samples[i].Seconds - before)
		before = c.samples[i].Seconds
	}
	if math.Abs(sent-float64(*r.Sent)) > 1 {
		t.Errorf("the rates make %.0f messages, not %d", sent, *r.Sent)
	}
}
