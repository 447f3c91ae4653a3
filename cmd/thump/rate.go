package main

import (
	"fmt"
	"time"

	"github.com/vbauerster/mpb/v8/decor"
)

// rate follows how fast a bar grows. It belongs to the goroutine that draws.
type rate struct {
	at        time.Time
	count     int64
	perSecond float64
}

const (
	// rateInterval is the least time to measure a rate over: confirms come in
	// bursts.
	rateInterval = 300 * time.Millisecond
	// smoothing is how much of a rate the next measurement keeps.
	smoothing = 0.7
)

// text is the present rate and, where there is an end, the time left.
func (r *rate) text(s decor.Statistics) string {
	now := time.Now()
	elapsed := now.Sub(r.at)
	switch {
	case r.at.IsZero():
		r.at, r.count = now, s.Current
	case elapsed >= rateInterval:
		latest := float64(s.Current-r.count) / elapsed.Seconds()
		if r.perSecond == 0 {
			r.perSecond = latest
		}
		r.perSecond = smoothing*r.perSecond + (1-smoothing)*latest
		r.at, r.count = now, s.Current
	}
	text := fmt.Sprintf("%7.0f/s", r.perSecond)
	if left := s.Total - s.Current; s.Total > 0 && left > 0 && r.perSecond >= 1 {
		text += fmt.Sprintf("  %s left", time.Duration(float64(left)/r.perSecond*float64(time.Second)).Round(time.Second))
	}
	return text
}
