package load

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// phasesMost is how many phases a schedule may have.
const phasesMost = 1000

// ParseSchedule reads a rate, like 500 or 5k, or several after another: 1k:10s,5k:30s, and
// 1k..20k:60s for one that grows evenly.
func ParseSchedule(text string) (*Schedule, error) {
	parts := strings.Split(text, ",")
	if len(parts) > phasesMost {
		return nil, fmt.Errorf("it has %d parts, and at most %d are allowed", len(parts), phasesMost)
	}
	phases := make([]Phase, len(parts))
	for i, part := range parts {
		var err error
		if phases[i], err = parsePhase(strings.TrimSpace(part)); err != nil {
			return nil, err
		}
	}
	return NewSchedule(phases...)
}

func parsePhase(text string) (Phase, error) {
	rates, length, timed := strings.Cut(text, ":")
	from, to, ramp := strings.Cut(rates, "..")
	if !ramp {
		to = from
	}
	var p Phase
	var err error
	if p.From, err = parseRate(from); err == nil {
		p.To, err = parseRate(to)
	}
	if err == nil && timed {
		p.For, err = time.ParseDuration(length)
		if err == nil && p.For <= 0 {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		return Phase{}, fmt.Errorf("%q must be messages a second like 500 or 5k, with a time like 5k:30s where others follow, or 1k..20k:60s", text)
	}
	return p, nil
}

// ParseRate reads a number of messages a second that does not change, like 500 or 5k.
func ParseRate(text string) (float64, error) {
	rate, err := parseRate(text)
	if err != nil || !(rate >= rateLeast && rate <= rateMost) {
		return 0, fmt.Errorf("%q must be messages a second like 500 or 5k, from %g to %g", text, rateLeast, rateMost)
	}
	return rate, nil
}

// parseRate reads a number of messages a second: 0.5, 500, 1.5k, 2m.
func parseRate(text string) (float64, error) {
	scale := 1.0
	switch digits := text[:max(0, len(text)-1)]; strings.ToLower(text[len(digits):]) {
	case "k":
		text, scale = digits, 1e3
	case "m":
		text, scale = digits, 1e6
	}
	rate, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	return rate * scale, err
}
