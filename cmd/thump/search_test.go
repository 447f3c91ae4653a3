package main

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// TestSearchFindsTheLimit looks for limits that are exact: what it finds holds, and is within a
// tenth of the limit, after no more than some twenty runs.
func TestSearchFindsTheLimit(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 1000 {
		ceiling := 10 + r.Float64()*1e6
		limit := ceiling * max(0.001, 3*r.Float64()*r.Float64())
		runs := 0
		s := search{try: func(rate float64) (bool, error) { runs++; return rate <= limit, nil }}
		found, err := s.find(ceiling)
		if err != nil || found > limit || found < limit*0.9 || s.failed <= limit {
			t.Fatalf("of %.1f at most it found %.1f, where the limit is %.1f; %.1f has failed; %v", ceiling, found, limit, s.failed, err)
		}
		if runs > 25 {
			t.Errorf("%d runs for a limit of %.1f below %.1f", runs, limit, ceiling)
		}
	}
}

// TestSearchWhereNearTheLimitSomeHold: what it finds has held as often as it must.
func TestSearchWhereNearTheLimitSomeHold(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		const limit, ceiling = 10_000, 20_000
		held := map[float64]int{}
		s := search{try: func(rate float64) (bool, error) {
			holds := rate < limit*(0.9+0.2*r.Float64())
			if held[rate]++; !holds {
				held[rate] = 0
			}
			return holds, nil
		}}
		found, err := s.find(ceiling)
		if err != nil || found < limit*0.6 || found > limit*1.1 || held[found] < confirmations {
			t.Fatalf("it found %.0f, which held %d times: %v", found, held[found], err)
		}
	}
}

func TestSearchWhereNothingHolds(t *testing.T) {
	s := search{try: func(float64) (bool, error) { return false, nil }}
	if found, err := s.find(1000); found != 0 || err != nil {
		t.Errorf("it found %v, %v", found, err)
	}
	n := 0
	s = search{try: func(float64) (bool, error) { n++; return n%2 == 1, nil }}
	if found, err := s.find(1000); found != 0 || err == nil {
		t.Errorf("what holds every other time is found: %v", found)
	}
	failed := errors.New("failed")
	s = search{try: func(float64) (bool, error) { return false, failed }}
	if _, err := s.find(1000); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

func TestSearchWhereEverythingHolds(t *testing.T) {
	s := search{try: func(float64) (bool, error) { return true, nil }}
	if found, err := s.find(1000); found < 9500 || found > 20000 || err != nil || s.failed != 0 {
		t.Errorf("it found %v, %v", found, err)
	}
}

func TestRound(t *testing.T) {
	for rate, want := range map[float64]float64{0: 0, 1234567: 1230000, 999.6: 1000, 0.012345: 0.0123, 12: 12} {
		if got := round(rate); got < want*0.999999 || got > want*1.000001 {
			t.Errorf("%v is %v, want %v", rate, got, want)
		}
	}
}
