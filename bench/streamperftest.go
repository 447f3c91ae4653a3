package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// streamPerfTestTimes is for publishing single entries; see javaTool. Otherwise the
// tool moves as many messages as the others.
const streamPerfTestTimes = 4

// newStreamPerfTest is RabbitMQ's load tool for streams, on the official Java
// client.
func newStreamPerfTest(cfg config) *javaTool {
	version := cfg.streamPerfTestVersion
	jar := filepath.Join(cfg.cache, "stream-perf-test-"+version+".jar")
	return &javaTool{
		title: "StreamPerfTest", version: version, part: streams,
		times: func(s scenario) int {
			if s.Sends && !s.SubEntries {
				return streamPerfTestTimes
			}
			return 1
		},
		find: func(context.Context) error { return findStreamPerfTest(jar) },
		java: []string{"-jar", jar},
		passURL: func(url string) ([]string, []string, error) {
			file := filepath.Join(cfg.dir, "stream-perf-test-arguments")
			err := os.WriteFile(file, []byte("--uris\n"+url+"\n"), 0o600)
			return []string{"@" + file}, nil, err
		},
		flags: streamPerfTestFlags,
		parse: parseStreamPerfTest,
	}
}

// findStreamPerfTest looks for the jar. Maven Central does not have it: RabbitMQ
// publishes it with the releases of its repository.
func findStreamPerfTest(jar string) error {
	if _, err := os.Stat(jar); err != nil {
		return fmt.Errorf("%s is not there: it is not on Maven Central, but among the releases of "+
			"https://github.com/rabbitmq/rabbitmq-stream-perf-test (or build it there: mvn package)", jar)
	}
	return nil
}

// streamPerfTestFlags leave the window at its default: a larger one was seen to
// make the tool slower.
func streamPerfTestFlags(s scenario, t task) []string {
	flags := []string{
		"--streams", t.Queue, "--size", strconv.Itoa(perfTestBytes),
		"--no-latency", // it would read the time that its own bodies begin with
		"--offset", "first",
	}
	flags = append(flags, javaSides(s, t)...)
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
func parseStreamPerfTest(output string) (javaReport, error) {
	var r javaReport
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
		r.seconds = append(r.seconds, javaSecond{at: float64(len(r.seconds) + 1), sent: confirmed, received: consumed})
	}
	if !ended {
		return r, errStreamPerfTestOutput
	}
	return r, nil
}
