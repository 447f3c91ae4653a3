package load

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func mustParse(t *testing.T, text string) *Schedule {
	t.Helper()
	s, err := ParseSchedule(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseSchedule(t *testing.T) {
	for text, want := range map[string]string{
		"500":                         "500",
		"0.5":                         "0.5",
		"5k":                          "5k",
		"1K:10s,5k:30s, 1k..20k:60s":  "1k:10s,5k:30s,1k..20k:1m0s",
		"0:5s,1.5m":                   "0:5s,1.5m",
		"0..10_000:1m":                "0..10k:1m0s",
		"1k:10s,0:1s,20k..1k:500ms,7": "1k:10s,0:1s,20k..1k:500ms,7",
	} {
		s, err := ParseSchedule(text)
		if err != nil || s.String() != want {
			t.Errorf("%q is %v, %v; want %s", text, s, err, want)
		}
	}
	for _, text := range []string{
		"", "k", "-1", "0", "NaN", "Inf", "2000m", "5k:", "5k:0s", "5k:-1s", "1k,5k", "1k..5k", "1k..:5s", "..5k:5s", "5k:30s,0", "0:5s", "1k:10s,,5k", "5k:10", "1e400",
	} {
		if s, err := ParseSchedule(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}

// TestScheduleIsItsRate looks at each second of random schedules: as many messages are due in
// it as the rate says, and nowhere is one due before the one ahead of it.
func TestScheduleIsItsRate(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		var phases []Phase
		for range 1 + r.IntN(4) {
			p := Phase{From: float64(r.IntN(3) * r.IntN(2000)), For: time.Duration(1+r.IntN(5)) * time.Second}
			if p.To = p.From; r.IntN(2) == 0 {
				p.To = float64(1 + r.IntN(5000))
			}
			phases = append(phases, p)
		}
		s, err := NewSchedule(phases...)
		if err != nil {
			continue // nothing but zeros
		}
		for _, s := range []*Schedule{s, s.Poisson(r.Uint64())} {
			checkSchedule(t, s)
		}
	}
}

func checkSchedule(t *testing.T, s *Schedule) {
	t.Helper()
	a := arrivals{schedule: s}
	perSecond := make([]float64, int(s.Length()/time.Second)+1)
	var before time.Duration
	count := s.Count(0)
	for n := range count {
		at := a.at(n)
		if at < before || at > s.Length() {
			t.Fatalf("%v (%s): message %d is due at %v, the one before it at %v", s, s.Arrivals(), n, at, before)
		}
		before = at
		perSecond[int(at/time.Second)]++
	}
	slack := 1.01 // of one message, for rounding
	if s.poisson {
		slack = arrivalsBlock
	}
	var wanted, got float64
	for i := range perSecond[:len(perSecond)-1] {
		middle := time.Duration(i)*time.Second + time.Second/2
		wanted += s.RateAt(middle) // the rate is linear within a second, so its middle is its average
		got += perSecond[i]
		if math.Abs(wanted-got) > slack {
			t.Errorf("%v (%s): %v messages are due in the first %d s, want %v", s, s.Arrivals(), got, i+1, wanted)
		}
		if n := s.Count(time.Duration(i+1) * time.Second); math.Abs(float64(n)-wanted) > 1 {
			t.Errorf("%v: it counts %d messages in the first %d s, want %v", s, n, i+1, wanted)
		}
	}
}

func TestScheduleWithoutEnd(t *testing.T) {
	s := mustParse(t, "100:10s,2k")
	if s.Length() != 0 || s.Count(0) != math.MaxUint64 || s.Count(11*time.Second) != 3000 {
		t.Errorf("got %v, %d, %d", s.Length(), s.Count(0), s.Count(11*time.Second))
	}
	if at := s.at(3000); at != 11*time.Second {
		t.Errorf("message 3000 is due at %v", at)
	}
	if rate := s.RateAt(time.Hour); rate != 2000 {
		t.Errorf("after an hour the rate is %v", rate)
	}
	if rate := mustParse(t, "100:10s").RateAt(time.Hour); rate != 0 {
		t.Errorf("after the end the rate is %v", rate)
	}
}

// TestEnding: the last message of a schedule ends the sending, or the time.
func TestEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			rate   string
			cfg    SendConfig
			length time.Duration // 0 where nobody knows
			latest bool
		}{
			{"1..400:6s", SendConfig{Count: 1203}, 6 * time.Second, false},
			{"1..400:6s", SendConfig{Count: 301}, 3 * time.Second, false},
			{"100", SendConfig{Count: 400, Duration: 4 * time.Second}, 4 * time.Second, false},
			{"100:2s,0:2s,100:2s", SendConfig{Count: 300, Duration: 5 * time.Second}, 5 * time.Second, false},
			{"", SendConfig{Duration: 3 * time.Second}, 3 * time.Second, false},
			{"", SendConfig{Count: 1e9, Duration: 3 * time.Second}, 3 * time.Second, true},
			{"", SendConfig{Count: 1e9}, 0, false},
		} {
			if test.rate != "" {
				test.cfg.Schedule = mustParse(t, test.rate)
			}
			var p Progress
			p.term.Store(test.cfg.term(time.Now()))
			time.Sleep(time.Second)
			got := p.Ending()
			want := Ending{test.length, max(0, test.length-time.Second), test.latest}
			if (got.Length-want.Length).Abs() > 20*time.Millisecond || (got.Left-want.Left).Abs() > 20*time.Millisecond || got.Latest != want.Latest {
				t.Errorf("%q, %d messages, %v: got %+v, want %+v", test.rate, test.cfg.Count, test.cfg.Duration, got, want)
			}
			ended := time.Now()
			p.sendingEnded.Store(&ended)
			time.Sleep(time.Second)
			if now := p.Ending(); now != got {
				t.Errorf("%q: %+v a second after the sending has ended, want %+v", test.rate, now, got)
			}
		}
	})
}

// TestPoissonGapsAreExponential compares the gaps between messages with what an exponential
// distribution has: half are shorter than ln 2 of the average, and a hundredth is longer than
// 4.6 of it.
func TestPoissonGapsAreExponential(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := mustParse(t, "1k").Poisson(seed)
	a := arrivals{schedule: s}
	const n = 100_000
	var short, long int
	before := a.at(0)
	for i := uint64(1); i <= n; i++ {
		at := a.at(i)
		switch gap := (at - before).Seconds() * 1000; {
		case gap < math.Ln2:
			short++
		case gap > math.Log(100):
			long++
		}
		before = at
	}
	if short < n/2-1500 || short > n/2+1500 || long < n/100-300 || long > n/100+300 {
		t.Errorf("%d of %d gaps are shorter than the median, %d longer than 99 %%", short, n, long)
	}
	// Whoever asks for one message alone gets the same answer.
	for range 100 {
		i := rand.Uint64N(n)
		if alone := (&arrivals{schedule: s}).at(i); alone != a.at(i) {
			t.Errorf("message %d is due at %v and at %v", i, alone, a.at(i))
		}
	}
}
