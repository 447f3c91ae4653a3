package main

import (
	"errors"
	"math"
)

const (
	// searchNear is how near the rate that holds and the one that does not must be.
	searchNear = 1.05
	// searchLeast and searchMost are the parts of full speed below and above which no rate is
	// tried.
	searchLeast, searchMost = 1e-4, 10
	// confirmations is how many more runs must hold at the rate that was found, and
	// confirmTries how many rates are tried for that.
	confirmations = 2
	confirmTries  = 8
)

// search looks for the highest rate that holds. One run says little: near the limit some hold
// and others do not. So the rate that it finds has to hold several times, and if it does not,
// the next lower one has to.
type search struct {
	// try does a run at a rate, and says whether it holds. An error ends the search.
	try func(rate float64) (bool, error)

	held, failed float64 // the highest rate that held, and the lowest that did not; 0 for none
}

// find returns the highest rate that holds, and has been confirmed; 0 if none does. It begins
// below the ceiling, and goes on above it where everything below holds.
func (s *search) find(ceiling float64) (float64, error) {
	least, most := ceiling*searchLeast, ceiling*searchMost
	for next := round(ceiling * 0.75); next >= least; next = s.next(ceiling) {
		holds, err := s.try(next)
		if err != nil {
			return 0, err
		}
		s.note(next, holds)
		if s.failed == 0 && ceiling <= s.held*searchNear && ceiling < most {
			ceiling *= 1.5 // it was too low
		}
		if s.held > 0 && s.upper(ceiling) <= s.held*searchNear {
			break
		}
	}
	if s.held == 0 {
		return 0, nil
	}
	return s.confirm(s.held, least)
}

// next is the rate between those that held and those that did not, in the middle of their ratio.
func (s *search) next(ceiling float64) float64 {
	if s.held == 0 {
		return round(s.failed / 3)
	}
	return round(math.Sqrt(s.held * s.upper(ceiling)))
}

// upper is a rate that does not hold, as far as is known.
func (s *search) upper(ceiling float64) float64 {
	if s.failed == 0 {
		return ceiling
	}
	return s.failed
}

func (s *search) note(rate float64, holds bool) {
	switch {
	case holds:
		s.held = max(s.held, rate)
	case s.failed == 0 || rate < s.failed:
		s.failed = rate
	}
}

// confirm tries a rate again, as often as is needed, and then lower ones.
func (s *search) confirm(rate, least float64) (float64, error) {
	for range confirmTries {
		held := 0
		for held < confirmations {
			holds, err := s.try(rate)
			if err != nil {
				return 0, err
			}
			if !holds {
				break
			}
			held++
		}
		if held == confirmations {
			return rate, nil
		}
		s.failed = min(rate, s.upper(rate))
		if rate = round(rate * 0.93); rate < least {
			break
		}
	}
	return 0, errNeverTwice
}

// errNeverTwice is that no rate could be confirmed.
var errNeverTwice = errors.New("--find-max: no rate holds more than once: what the limits are about differs too much from run to run")

// round rounds to three digits.
func round(rate float64) float64 {
	if rate <= 0 {
		return 0
	}
	scale := math.Pow(10, math.Floor(math.Log10(rate))-2)
	return math.Round(rate/scale) * scale
}
