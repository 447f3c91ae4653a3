package main

import (
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

const (
	perfTestMain = "com.rabbitmq.perf.PerfTest"

	// perfTestBytes is the size of its bodies, that of "Message 100000". They begin
	// with a time and a number, in 12 bytes.
	perfTestBytes = 14

	perfTestTimes = 3 // see javaTool

	// perfTestEnvPrefix makes PerfTest read its options from variables with this
	// prefix.
	perfTestEnvPrefix = "THUMP_BENCH_PERF_TEST_"

	// perfTestPOM asks Maven for PerfTest and what it needs.
	perfTestPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>thump</groupId><artifactId>bench</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>com.rabbitmq</groupId><artifactId>perf-test</artifactId><version>%s</version></dependency>
  </dependencies>
</project>
`
)

// newPerfTest is RabbitMQ's load tool for queues, from Maven Central.
func newPerfTest(cfg config) *javaTool {
	version := cfg.perfTestVersion
	jars := filepath.Join(cfg.cache, "perf-test-"+version)
	return &javaTool{
		title: "PerfTest", version: version, part: queues,
		times: perfTestShare,
		find:  func(ctx context.Context) error { return fetchPerfTest(ctx, jars, version) },
		java:  []string{"-cp", filepath.Join(jars, "*"), perfTestMain},
		passURL: func(url string) ([]string, []string, error) {
			return nil, []string{"RABBITMQ_PERF_TEST_ENV_PREFIX=" + perfTestEnvPrefix, perfTestEnvPrefix + "URI=" + url}, nil
		},
		flags: perfTestFlags,
		parse: parsePerfTest,
	}
}

func perfTestShare(s scenario) int {
	if s.Rate > 0 {
		return 1 // the rate says how long it takes
	}
	return perfTestTimes
}

// fetchPerfTest fills the folder of jars, unless PerfTest is there.
func fetchPerfTest(ctx context.Context, jars, version string) error {
	jar := filepath.Join(jars, "perf-test-"+version+".jar")
	if _, err := os.Stat(jar); err == nil {
		return nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return errors.New("mvn is not on PATH, and PerfTest is not in " + jars + ": apt-get install maven")
	}
	if err := downloadPerfTest(ctx, jars, version); err != nil {
		return err
	}
	if _, err := os.Stat(jar); err != nil {
		return fmt.Errorf("mvn did not bring it: %w", err)
	}
	return nil
}

// downloadPerfTest lets Maven do it, with the user's settings, mirrors and
// repository.
func downloadPerfTest(ctx context.Context, jars, version string) error {
	if err := os.MkdirAll(jars, 0o755); err != nil {
		return err
	}
	pom := filepath.Join(jars, "pom.xml")
	if err := os.WriteFile(pom, fmt.Appendf(nil, perfTestPOM, version), 0o644); err != nil {
		return err
	}
	mvn := exec.CommandContext(ctx, "mvn", "--batch-mode", "--quiet", "--file", pom,
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+jars)
	if output, err := mvn.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn: %w: %s", err, mavenError(string(output)))
	}
	return nil
}

// mavenError is the first of Maven's errors, which says what is wrong; the
// others say how to ask it for more.
func mavenError(output string) string {
	for line := range strings.Lines(output) {
		if _, text, found := strings.Cut(line, "ERROR"); found {
			return strings.TrimLeft(strings.TrimSpace(text), "\x1b[m] ")
		}
	}
	return lastLines(output)
}

// perfTestFlags are the options for the default exchange and the queue that is
// there, with the window and prefetch of the other peers, and one ack for many
// deliveries.
func perfTestFlags(s scenario, t task) []string {
	flags := []string{
		"--predeclared", "--queue", t.Queue, "--exchange", "", "--routing-key", t.Queue,
	}
	if s.Rate > 0 {
		flags = append(flags, "--rate", strconv.Itoa(s.Rate), "--size", strconv.Itoa(timedBytes))
	} else {
		flags = append(flags, "--size", strconv.Itoa(perfTestBytes))
	}
	flags = append(flags, javaSides(s, t)...)
	if !s.Safe {
		return append(flags, "--autoack")
	}
	return append(flags, "--flag", "persistent", "--confirm", strconv.Itoa(t.Window),
		"--qos", strconv.Itoa(t.Prefetch), "--multi-ack-every", strconv.Itoa(t.AckEvery))
}

var errPerfTestOutput = errors.New("PerfTest did not end with its average rates")

// parsePerfTest reads these lines, and skips all others:
//
//	id: test-101502-123, time 1.001 s, sent: 65589 msg/s, received: 63021 msg/s, …
//	… min/median/75th/95th/99th consumer latency: 229/1518/5712/8956/17380 µs, confirm latency: 215/1667/8320/67394/91461 µs
//	id: test-101502-123, sending rate avg: 51234 msg/s
//	id: test-101502-123, receiving rate avg: 50987 msg/s
func parsePerfTest(output string) (javaReport, error) {
	var r javaReport
	pair := regexp.MustCompile(`(time|sent:|received:|sending rate avg:|receiving rate avg:) ([0-9.]+)`)
	averages := 0
	for line := range strings.Lines(output) {
		var second javaSecond
		for _, match := range pair.FindAllStringSubmatch(line, -1) {
			value, err := strconv.ParseFloat(match[2], 64)
			if err != nil {
				return r, fmt.Errorf("%w: %q", errPerfTestOutput, match[0])
			}
			switch match[1] {
			case "time":
				second.at = value
			case "sent:":
				second.sent = value
			case "received:":
				second.received = value
			case "sending rate avg:":
				r.sendAverage, averages = value, averages+1
			case "receiving rate avg:":
				r.recAverage, averages = value, averages+1
			}
		}
		if second.at > 0 {
			second.receive, second.confirm = perfTestLatency(line, "consumer"), perfTestLatency(line, "confirm")
			r.seconds = append(r.seconds, second)
		}
	}
	if averages != 2 {
		return r, errPerfTestOutput
	}
	return r, nil
}

// perfTestLatency reads the latencies of one kind from a line of one second; nil if there
// are none, as in a second without messages.
func perfTestLatency(line, kind string) *latency {
	match := regexp.MustCompile(kind + ` latency: \d+/(\d+)/\d+/\d+/(\d+) (µs|ms)`).FindStringSubmatch(line)
	if match == nil {
		return nil
	}
	median, _ := strconv.ParseFloat(match[1], 64) // digits
	most, _ := strconv.ParseFloat(match[2], 64)
	if match[3] == "ms" {
		median, most = 1000*median, 1000*most
	}
	return &latency{P50: median, P99: most}
}
