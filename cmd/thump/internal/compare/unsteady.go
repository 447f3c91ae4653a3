package compare

import (
	"slices"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// parts is into how many parts of the same length a run is cut to see how steady it is.
const parts = 5

// unsteady is how far apart the rates of the parts of a run are, as a factor, at worst: of
// sending and of receiving, each while it went on. It is 0 where the samples are too few.
func unsteady(runs []*result.Run) float64 {
	var worst float64
	for _, r := range runs {
		worst = max(worst,
			apart(r.Samples, func(s *result.Sample) uint64 { return s.Sent }),
			apart(r.Samples, func(s *result.Sample) uint64 { return s.Received }))
	}
	return worst
}

// moment is how far a count had come.
type moment struct{ seconds, count float64 }

func apart(samples []result.Sample, count func(*result.Sample) uint64) float64 {
	course := active(samples, count)
	if len(course) <= parts {
		return 0
	}
	begin, end := course[0].seconds, course[len(course)-1].seconds
	var counts []float64
	before := course[0].count
	for i := range parts {
		now := at(course, begin+(end-begin)*float64(i+1)/parts)
		counts, before = append(counts, now-before), now
	}
	// A part in which next to nothing came is as far from the others as can be.
	return slices.Max(counts) / max(1, slices.Min(counts))
}

// active are the moments from the last at which nothing had come to the first at which all had.
func active(samples []result.Sample, count func(*result.Sample) uint64) []moment {
	var course []moment
	for i := range samples {
		m := moment{samples[i].Seconds, float64(count(&samples[i]))}
		switch n := len(course); {
		case n == 1 && m.count == course[0].count:
			course[0] = m
		case n == 0 || m.seconds > course[n-1].seconds:
			course = append(course, m)
		}
	}
	for n := len(course); n > 1 && course[n-2].count == course[n-1].count; n-- {
		course = course[:n-1]
	}
	return course
}

// at is the count at a time, in a straight line between moments.
func at(course []moment, seconds float64) float64 {
	for i := 1; i < len(course); i++ {
		if a, b := course[i-1], course[i]; seconds <= b.seconds {
			return a.count + (b.count-a.count)*(seconds-a.seconds)/(b.seconds-a.seconds)
		}
	}
	return course[len(course)-1].count
}
