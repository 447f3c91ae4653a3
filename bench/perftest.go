package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// perfTest is RabbitMQ's own load tool, from Maven Central. It is one Java
// process that sends, receives or both, and takes its own time.
type perfTest struct {
	cache   string // folder that its jars are kept in
	version string
	jars    string // once prepared: folder of its jars
}

const (
	perfTestMain = "com.rabbitmq.perf.PerfTest"

	// perfTestBytes is the size of its bodies: a time and a number in 12 bytes,
	// its least, padded to what "Message 100000" takes.
	perfTestBytes = 14

	perfTestTimes  = 3   // its messages, for one of a fast peer's
	perfTestWarmUp = 1.9 // seconds; its lines come a second apart, more or less

	// perfTestEnvPrefix has PerfTest read its options from variables of this
	// prefix; the URL goes that way because it holds a password.
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

func (p *perfTest) name() string { return "PerfTest" }

func (p *perfTest) takesPart(s scenario) bool { return queues(s) }

// count gives Java time to compile what it runs, so that enough is left that is
// worth measuring.
func (p *perfTest) count(_ scenario, n int) int { return perfTestTimes * n }

func (p *perfTest) prepare(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", errors.New("java is not on PATH: apt-get install default-jre-headless maven")
	}
	p.jars = filepath.Join(p.cache, "perf-test-"+p.version)
	jar := filepath.Join(p.jars, "perf-test-"+p.version+".jar")
	if _, err := os.Stat(jar); err == nil {
		return p.version, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", errors.New("mvn is not on PATH, and it is not in " + p.jars + ": apt-get install maven")
	}
	if err := p.download(ctx); err != nil {
		return "", err
	}
	if _, err := os.Stat(jar); err != nil {
		return "", fmt.Errorf("mvn did not bring it: %w", err)
	}
	return p.version, nil
}

// download fills the folder of jars by Maven's own ways: settings, mirrors and
// repository are the user's.
func (p *perfTest) download(ctx context.Context) error {
	if err := os.MkdirAll(p.jars, 0o755); err != nil {
		return err
	}
	pom := filepath.Join(p.jars, "pom.xml")
	if err := os.WriteFile(pom, fmt.Appendf(nil, perfTestPOM, p.version), 0o644); err != nil {
		return err
	}
	mvn := exec.CommandContext(ctx, "mvn", "--batch-mode", "--quiet", "--file", pom,
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+p.jars)
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

func (p *perfTest) run(ctx context.Context, s scenario, t task) (sample, error) {
	var out sample
	java := exec.CommandContext(ctx, "java", append([]string{
		"-cp", filepath.Join(p.jars, "*"), perfTestMain,
	}, perfTestFlags(s, t)...)...)
	java.Env = append(os.Environ(),
		"RABBITMQ_PERF_TEST_ENV_PREFIX="+perfTestEnvPrefix, perfTestEnvPrefix+"URI="+javaURL(t.URL))
	var stdout, stderr bytes.Buffer
	java.Stdout, java.Stderr = &stdout, &stderr
	if err := java.Run(); err != nil {
		return out, fmt.Errorf("java: %w%s", err, lastLines(stdout.String()+stderr.String()))
	}
	report, err := parsePerfTest(stdout.String())
	if err != nil {
		return out, fmt.Errorf("%w%s", err, lastLines(stdout.String()+stderr.String()))
	}
	out.Seconds = float64(t.Count) / report.rate(s.Receives)
	state := java.ProcessState
	out.ClientCPUSeconds = (state.UserTime() + state.SystemTime()).Seconds()
	out.RSSBytesPeak = peakRSSBytes(state)
	return out, nil
}

// javaURL is the URL as the Java client reads it, for which "/" at the end is
// not the default virtual host but one with an empty name.
func javaURL(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Path != "/" {
		return rawURL // if it is malformed, PerfTest says so
	}
	u.Path = ""
	return u.String()
}

// perfTestFlags are the options that make PerfTest do what the other peers do:
// through the default exchange to the queue that is there, the same window and
// prefetch, one ack for many.
func perfTestFlags(s scenario, t task) []string {
	flags := []string{
		"--predeclared", "--queue", t.Queue, "--exchange", "", "--routing-key", t.Queue,
		"--size", strconv.Itoa(perfTestBytes),
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
	if !s.Safe {
		return append(flags, "--autoack")
	}
	return append(flags, "--flag", "persistent", "--confirm", strconv.Itoa(t.Window),
		"--qos", strconv.Itoa(t.Prefetch), "--multi-ack-every", strconv.Itoa(t.AckEvery))
}

// perfTestReport is what PerfTest says of its rates: one line for each second,
// and averages over the whole at the end, both counted from the moment its
// connections are open.
type perfTestReport struct {
	seconds                 []perfTestSecond
	sendAverage, recAverage float64 // messages per second
}

// perfTestSecond is one of its lines.
type perfTestSecond struct {
	at             float64 // when it ended, seconds from the start
	sent, received float64 // messages per second
}

var errPerfTestOutput = errors.New("PerfTest did not end with its average rates")

// parsePerfTest reads these lines, and skips all others:
//
//	id: test-101502-123, time 1.001 s, sent: 65589 msg/s, received: 63021 msg/s, …
//	id: test-101502-123, sending rate avg: 51234 msg/s
//	id: test-101502-123, receiving rate avg: 50987 msg/s
func parsePerfTest(output string) (perfTestReport, error) {
	var r perfTestReport
	pair := regexp.MustCompile(`(time|sent:|received:|sending rate avg:|receiving rate avg:) ([0-9.]+)`)
	averages := 0
	for line := range strings.Lines(output) {
		var second perfTestSecond
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
			r.seconds = append(r.seconds, second)
		}
	}
	if averages != 2 {
		return r, errPerfTestOutput
	}
	return r, nil
}

// rate is the rate once Java is warm: without the first perfTestWarmUp seconds,
// in which it still compiles what it runs. A run that is too short for that is
// taken as a whole.
func (r perfTestReport) rate(receives bool) float64 {
	of := func(s perfTestSecond) float64 { return s.sent }
	average := r.sendAverage
	if receives {
		of = func(s perfTestSecond) float64 { return s.received }
		average = r.recAverage
	}
	last, warm, messages := 0.0, 0.0, 0.0
	for _, s := range r.seconds {
		if last >= perfTestWarmUp {
			warm += s.at - last
			messages += of(s) * (s.at - last)
		}
		last = s.at
	}
	if warm < perfTestWarmUp {
		return average
	}
	return messages / warm
}
