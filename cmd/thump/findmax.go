package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const (
	// probeDefault is how long each run of --find-max sends, without --duration.
	probeDefault = 10 * time.Second
	// ceilingOver is how much faster than full speed the search begins to look: full speed
	// differs from run to run.
	ceilingOver = 1.33
	// behindMost is how far confirms and consumers may be behind in the end. Who is further
	// behind does not keep up.
	behindMost = 500 * time.Millisecond
)

// checkFindMax says what can't go with --find-max.
func (cfg *config) checkFindMax() error {
	if len(cfg.findMax) == 0 {
		return nil
	}
	for _, flag := range []string{"rate", "count", "sequential", "no-confirms", "repeat", "versus", "warm-up"} {
		if cfg.given(flag) {
			return fmt.Errorf("--%s can't go with --find-max, which says how much is sent, and how often", flag)
		}
	}
	if cfg.kind.kind == kindAll {
		return errors.New("--kind all can't go with --find-max: name one kind")
	}
	return nil
}

// findMax looks for the highest rate at which the limits hold, and prints it.
func findMax(ctx context.Context, cfg *config, o *opened, u *ui) error {
	cfg.again = true
	f := &finding{ctx: ctx, cfg: cfg, o: o, u: u, length: probeDefault}
	if d := time.Duration(cfg.rate.duration); d > 0 {
		f.length = d
	}
	full, err := f.fullSpeed()
	if err != nil {
		return f.ended(err)
	}
	s := search{try: f.holds}
	rate, err := s.find(full * ceilingOver)
	if err != nil && !errors.Is(err, errNeverTwice) {
		return f.ended(err)
	}
	found := &result.Search{Limits: f.limits(), FullRate: &full, Why: f.why[s.failed]}
	if rate > 0 {
		found.Rate, found.Confirmations = &rate, confirmations
	}
	if s.failed > 0 {
		found.NextRate = &s.failed
	}
	rec := result.New(f.runs...)
	rec.Search = found
	o.save.writer().Search(found)
	switch {
	case err != nil:
	case rec.Verdict == result.Violated:
		err = errViolated
	case rate == 0:
		err = fmt.Errorf("--find-max: no rate was found at which the limits hold: %s", found.Why)
	}
	// The other runs were to find out what does not hold.
	return o.finishJudging(ctx, report.Search(rec, f.at(rate)), rec, []*result.Run{f.at(rate)}, err)
}

// finding is a --find-max.
type finding struct {
	ctx    context.Context //nolint:containedctx // of one call
	cfg    *config
	o      *opened
	u      *ui
	length time.Duration

	runs []*result.Run
	why  map[float64]string // what did not hold, by rate
	held map[float64]*result.Run
}

func (f *finding) limits() []string {
	var limits []string
	for _, c := range f.cfg.findMax {
		limits = append(limits, c.String())
	}
	return limits
}

// at is a run in which the rate held; nil if there was none.
func (f *finding) at(rate float64) *result.Run { return f.held[rate] }

// ended is what the command ends with where the search could not go on. Runs that have ended
// are written all the same.
func (f *finding) ended(err error) error {
	if len(f.runs) == 0 {
		return f.u.orInterrupted(err)
	}
	rec := result.New(f.runs...)
	return f.o.finish(f.ctx, report.Verdict(f.runs[len(f.runs)-1])+"\n", rec, f.u.orInterrupted(err))
}

// fullSpeed is how many messages a second come through as fast as possible.
func (f *finding) fullSpeed() (float64, error) {
	r, err := f.run(nil, f.length/2)
	if err != nil {
		return 0, err
	}
	rate := min(result.Value(r.SendRatePerSecond), result.Value(r.ReceiveRatePerSecond))
	if rate == 0 {
		return 0, errors.New("--find-max: no message came through")
	}
	f.u.notef("As fast as possible: %s a second. Looking for the highest rate at which %s; each run takes %v.\n",
		report.Rate(rate), strings.Join(f.limits(), " and "), f.length)
	return rate, nil
}

// holds runs at a rate, and says whether the limits hold.
func (f *finding) holds(rate float64) (bool, error) {
	schedule, err := load.NewSchedule(load.Phase{From: rate, To: rate})
	if err != nil {
		return false, err
	}
	r, err := f.run(schedule, f.length)
	if err != nil {
		return false, err
	}
	why, err := broken(r, rate, f.cfg.findMax)
	if err != nil {
		return false, err
	}
	if f.why == nil {
		f.why, f.held = make(map[float64]string), make(map[float64]*result.Run)
	}
	word := "holds"
	if why != "" {
		f.why[rate], word = why, "does not: "+why
	} else {
		f.held[rate] = r
	}
	f.u.notef(" [.] %9s a second: %s\n", report.Rate(rate), word)
	return why == "", nil
}

// run runs the load at a schedule, or as fast as possible. Its error ends the search.
func (f *finding) run(schedule *load.Schedule, length time.Duration) (*result.Run, error) {
	one := *f.cfg
	one.rate.rate.schedule, one.rate.duration = schedule, durationFlag(length)
	one.choosePlace(f.cfg.queueName)
	quiet := f.u.quiet
	f.u.quiet = true
	done := runThrough(f.ctx, &one, f.o, f.u)
	f.u.quiet = quiet
	if done.began {
		f.runs = append(f.runs, done.record)
	}
	switch {
	case f.u.stopping():
		return nil, errInterrupted
	case !done.began:
		return nil, done.ended
	case done.cleanupErr != nil:
		return nil, done.cleanupErr
	}
	return done.record, done.ended
}

// broken says what does not hold of a run at that rate; "" if everything does.
func broken(r *result.Run, rate float64, limits []result.Condition) (string, error) {
	sending := r.Settings.DurationSeconds
	backlog := float64(result.Value(r.BacklogAtSendEnd))
	switch {
	case r.Verdict != result.OK:
		return report.Verdict(r), nil
	case result.Value(r.NotSent) > 0 || result.Value(r.SendSeconds) > sending+behindMost.Seconds():
		return fmt.Sprintf("%s a second were confirmed", report.Rate(result.Value(r.SendRatePerSecond))), nil
	case backlog > rate*behindMost.Seconds() || result.Value(r.TotalSeconds) > sending+2*behindMost.Seconds():
		return fmt.Sprintf("the queue grows, to %.0f messages", backlog), nil
	}
	for _, limit := range limits {
		holds, err := limit.Holds(r)
		if err != nil {
			return "", fmt.Errorf("--find-max %w", err)
		}
		if !holds {
			return fmt.Sprintf("%s is %s", limit.Figure().Name, report.Value(limit.Figure(), r)), nil
		}
	}
	return "", nil
}
