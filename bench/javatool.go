package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
)

// javaTool is one of RabbitMQ's own load tools. It is one Java process that
// sends, receives or both, and takes its own time.
type javaTool struct {
	title   string
	version string
	part    func(scenario) bool // see takesPart
	// times is how many messages it moves for each of a fast peer's: Java needs
	// time to compile what it runs, and enough must be left to measure after that.
	times func(scenario) int
	// find installs or finds the tool. The error says what is missing, and how to
	// get it.
	find func(ctx context.Context) error
	java []string // the arguments that start it
	// passURL hands the URL over by other means than the command line, because it
	// holds a password: arguments that say where it is, and variables.
	passURL func(url string) (arguments, environment []string, err error)
	flags   func(scenario, task) []string // make it do what the other peers do
	parse   func(output string) (javaReport, error)
}

func (j *javaTool) name() string { return j.title }

func (j *javaTool) takesPart(s scenario) bool { return j.part(s) }

func (j *javaTool) count(s scenario, n int) int { return j.times(s) * n }

func (j *javaTool) prepare(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", errors.New("java is not on PATH: apt-get install default-jre-headless")
	}
	return j.version, j.find(ctx)
}

func (j *javaTool) run(ctx context.Context, s scenario, t task) (sample, error) {
	arguments, environment, err := j.passURL(javaURL(t.URL))
	if err != nil {
		return sample{}, err
	}
	java := exec.CommandContext(ctx, "java", slices.Concat(j.java, arguments, j.flags(s, t))...)
	java.Env = append(os.Environ(), environment...)
	var stdout, stderr bytes.Buffer
	java.Stdout, java.Stderr = &stdout, &stderr
	if err := java.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return sample{}, fmt.Errorf("java: %w%s", err, lastLines(stdout.String()+stderr.String()))
	}
	report, err := j.parse(stdout.String())
	if err != nil {
		return sample{}, fmt.Errorf("%w%s", err, lastLines(stdout.String()+stderr.String()))
	}
	state := java.ProcessState
	return sample{
		Timings:          report.timings(s),
		Seconds:          float64(t.Count) / report.rate(s.Receives),
		ClientCPUSeconds: (state.UserTime() + state.SystemTime()).Seconds(),
		RSSBytesPeak:     peakRSSBytes(state),
	}, nil
}

// javaSides are the options, the same for both tools, for who takes part and how
// many messages.
func javaSides(s scenario, t task) []string {
	producers, consumers := []string{"--producers", "0"}, []string{"--consumers", "0"}
	if s.Sends {
		producers = []string{"--producers", "1", "--pmessages", strconv.Itoa(t.Count)}
	}
	if s.Receives {
		consumers = []string{"--consumers", "1", "--cmessages", strconv.Itoa(t.Count)}
	}
	return append(producers, consumers...)
}

// javaURL is the URL as the Java client reads it, for which "/" at the end is
// not the default virtual host but one with an empty name.
func javaURL(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Path != "/" {
		return rawURL // if it is malformed, the tool says so
	}
	u.Path = ""
	return u.String()
}

// javaReport is what a tool says about its rates: a line for each second, and
// averages over the whole at the end, both counted from the moment its
// connections are open.
type javaReport struct {
	seconds                 []javaSecond
	sendAverage, recAverage float64 // messages per second
}

// javaSecond is one of these lines.
type javaSecond struct {
	at             float64 // when it ended, seconds from the start
	sent, received float64 // messages per second

	receive, confirm *latency // medians and 99th percentiles; nil if it says none
}

// javaWarmUp is how many seconds Java compiles what it runs; the lines come a
// second apart, more or less.
const javaWarmUp = 1.9

// rate is the rate after the first javaWarmUp seconds. A run that is too short
// for that counts as a whole.
func (r javaReport) rate(receives bool) float64 {
	of := func(s javaSecond) float64 { return s.sent }
	average := r.sendAverage
	if receives {
		of = func(s javaSecond) float64 { return s.received }
		average = r.recAverage
	}
	last, warm, messages := 0.0, 0.0, 0.0
	for _, s := range r.seconds {
		if last >= javaWarmUp {
			warm += s.at - last
			messages += of(s) * (s.at - last)
		}
		last = s.at
	}
	if warm < javaWarmUp {
		return average
	}
	return messages / warm
}

// timings are the medians of what the tool says of each second after the first javaWarmUp:
// what it says of the whole includes those. They are nil for a scenario without a rate.
func (r javaReport) timings(s scenario) *timings {
	if s.Rate == 0 {
		return nil
	}
	var receive, confirm []*latency
	for _, second := range r.seconds {
		if second.at < javaWarmUp+1 {
			continue
		}
		receive, confirm = append(receive, second.receive), append(confirm, second.confirm)
	}
	return &timings{Receive: medianLatency(receive), Confirm: medianLatency(confirm)}
}
