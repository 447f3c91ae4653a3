package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// streamPerfTest is RabbitMQ's own load tool for streams, on the official Java
// client. It is one Java process that sends, receives or both, and takes its own
// time.
type streamPerfTest struct {
	cache   string // folder that its jar is kept in
	dir     string // of the run
	version string
	jar     string // once prepared
}

// streamPerfTestTimes is its messages, for one of a fast peer's, where it
// publishes single entries. With sub-entries, and of a backlog, it moves as many
// as the others.
const streamPerfTestTimes = 4

func (p *streamPerfTest) name() string { return "StreamPerfTest" }

func (p *streamPerfTest) takesPart(s scenario) bool { return s.Stream }

// count gives Java time to compile what it runs, so that enough is left that is
// worth measuring.
func (p *streamPerfTest) count(s scenario, n int) int {
	if s.Sends && !s.SubEntries {
		return streamPerfTestTimes * n
	}
	return n
}

// prepare finds the jar. Maven Central does not have it: RabbitMQ publishes it
// with the releases of its repository.
func (p *streamPerfTest) prepare(context.Context) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", errors.New("java is not on PATH: apt-get install default-jre-headless")
	}
	name := "stream-perf-test-" + p.version + ".jar"
	p.jar = filepath.Join(p.cache, name)
	if _, err := os.Stat(p.jar); err != nil {
		return "", fmt.Errorf("%s is not in %s: it is not on Maven Central, but among the releases of https://github.com/rabbitmq/rabbitmq-stream-perf-test (or build it there: mvn package)", name, p.cache)
	}
	return p.version, nil
}

func (p *streamPerfTest) run(ctx context.Context, s scenario, t task) (sample, error) {
	var out sample
	// The URL goes in a file of arguments because it holds a password.
	arguments := filepath.Join(p.dir, "stream-perf-test-arguments")
	if err := os.WriteFile(arguments, []byte("--uris\n"+javaURL(t.URL)+"\n"), 0o600); err != nil {
		return out, err
	}
	java := exec.CommandContext(ctx, "java", append([]string{"-jar", p.jar, "@" + arguments}, streamPerfTestFlags(s, t)...)...)
	var stdout, stderr bytes.Buffer
	java.Stdout, java.Stderr = &stdout, &stderr
	if err := java.Run(); err != nil {
		return out, fmt.Errorf("java: %w%s", err, lastLines(stdout.String()+stderr.String()))
	}
	report, err := parseStreamPerfTest(stdout.String())
	if err != nil {
		return out, fmt.Errorf("%w%s", err, lastLines(stdout.String()+stderr.String()))
	}
	out.Seconds = float64(t.Count) / report.rate(s.Receives)
	state := java.ProcessState
	out.ClientCPUSeconds = (state.UserTime() + state.SystemTime()).Seconds()
	out.RSSBytesPeak = peakRSSBytes(state)
	return out, nil
}

// streamPerfTestFlags are the options that make it do what the other peers do.
// Its window stays at its default: a larger one was seen to make it slower.
func streamPerfTestFlags(s scenario, t task) []string {
	flags := []string{
		"--streams", t.Queue, "--size", strconv.Itoa(perfTestBytes),
		"--no-latency", // it would read the time that its own bodies begin with
		"--offset", "first",
	}
	if s.Sends {
		flags = append(flags, "--producers", "1", "--pmessages", strconv.Itoa(t.Count))
	} else {
		flags = append(flags, "--producers", "0")
	}
	if s.Receives {
		flags = append(flags, "--consumers", "1", "--cmessages", strconv.Itoa(t.Count))
	} else {
		flags = append(flags, "--consumers", "0")
	}
	if t.SubEntry > 0 {
		flags = append(flags, "--sub-entry-size", strconv.Itoa(t.SubEntry))
	}
	return flags
}

var errStreamPerfTestOutput = errors.New("StreamPerfTest did not end with its summary")

// parseStreamPerfTest reads these lines, one for each second and one at the end,
// and skips all others:
//
//	3, published 195269 msg/s, confirmed 185379 msg/s, consumed 182635 msg/s, latency …
//	Summary: published 396405 msg/s, confirmed 396405 msg/s, consumed 396405 msg/s, latency …
//
// What counts as sent is what was confirmed.
func parseStreamPerfTest(output string) (perfTestReport, error) {
	var r perfTestReport
	rates := regexp.MustCompile(`^(Summary:|[0-9]+,) .*confirmed ([0-9]+) msg/s, consumed ([0-9]+) msg/s`)
	ended := false
	for line := range strings.Lines(output) {
		match := rates.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		// Digits: no error but the range.
		confirmed, err1 := strconv.ParseFloat(match[2], 64)
		consumed, err2 := strconv.ParseFloat(match[3], 64)
		if err := errors.Join(err1, err2); err != nil {
			return r, fmt.Errorf("%w: %w", errStreamPerfTestOutput, err)
		}
		if match[1] == "Summary:" {
			r.sendAverage, r.recAverage, ended = confirmed, consumed, true
			continue
		}
		r.seconds = append(r.seconds, perfTestSecond{at: float64(len(r.seconds) + 1), sent: confirmed, received: consumed})
	}
	if !ended {
		return r, errStreamPerfTestOutput
	}
	return r, nil
}
