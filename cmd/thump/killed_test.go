package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// envKills is how often TestKilledRunLeavesNothing kills a run; a few times if it is not
// set.
const envKills = "THUMP_TEST_KILLS"

// TestKilledRunLeavesNothing kills runs with a broker of their own at random instants:
// from the first millisecond on, while the broker starts, and while it works. No process
// and no folder is left 10 s later, or the next command removes them and says so.
func TestKilledRunLeavesNothing(t *testing.T) {
	t.Parallel()
	kills, seed := numberFrom(t, envKills, 8), uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var starting, served, byNext int
	for i := range kills {
		p := start(t, "", "run", "--private", "--count", "100m")
		var after time.Duration
		switch i % 4 {
		case 0, 2: // what happens early is over soon
			after = time.Duration(random.Int64N(int64(300 * time.Millisecond)))
		case 1: // RabbitMQ starts
			after = time.Duration(random.Int64N(int64(10 * time.Second)))
		case 3: // it works
			p.await("runs after")
			if now := leftIn(t, p.home); !strings.Contains(now, "beam") || !strings.Contains(now, "epmd") || !strings.Contains(now, "run-") {
				t.Errorf("of a broker that runs the test sees only\n%sso it shows nothing", now)
			}
			after = time.Duration(random.Int64N(int64(3 * time.Second)))
		}
		time.Sleep(after)
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wait()
		if output := p.stderr.String(); strings.Contains(output, "runs after") {
			served++
		} else if strings.Contains(output, "Starting RabbitMQ") {
			starting++
		}
		begin := time.Now()
		left := leftIn(t, p.home)
		for left != "" && time.Since(begin) < 10*time.Second {
			time.Sleep(20 * time.Millisecond)
			left = leftIn(t, p.home)
		}
		if left == "" {
			continue
		}
		byNext++
		t.Logf("killed after %v, it left\n%s", after, left)
		next := exec.Command(p.cmd.Path, "broker", "stop")
		next.Args[0], next.Env = "thump", p.cmd.Env
		said, err := next.CombinedOutput()
		if err != nil || !strings.Contains(string(said), "a killed run has left") {
			t.Errorf("killed after %v, it left\n%sand the next command said: %s, %v", after, left, said, err)
		}
		if left := leftIn(t, p.home); left != "" {
			t.Errorf("killed after %v, it left, even after the next command,\n%s", after, left)
		}
	}
	t.Logf("of %d runs, %d were killed before they started their broker, %d while it started, and %d later; the next command removed what was left of %d",
		kills, kills-starting-served, starting, served, byNext)
}

// TestRunOnFullDisk: where thump can write no file any more, a run ends as it would
// otherwise, and leaves nothing.
func TestRunOnFullDisk(t *testing.T) {
	p := start(t, "", "run", "--private", "--count", "100m")
	p.awaitProgress("Received", 20000)
	// A limit of the size of files stands for the disk.
	limit := exec.Command("prlimit", "--fsize=0", "--pid", strconv.Itoa(p.cmd.Process.Pid))
	if output, err := limit.CombinedOutput(); err != nil {
		t.Fatalf("this test needs prlimit (Debian: util-linux): %v: %s", err, output)
	}
	p.interrupt()
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &p.stderr)
	}
	if left := leftIn(t, p.home); left != "" {
		t.Errorf("it left\n%s", left)
	}
}

// leftIn lists the files in a THUMP_HOME, and the processes that have its path in their
// arguments or environment.
func leftIn(t *testing.T, home string) string {
	t.Helper()
	var left strings.Builder
	entries, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		left.WriteString(entry.Name() + "\n")
	}
	processes, err := exec.Command("ps", "axeww", "-o", "pid=,args=").Output()
	if err != nil {
		t.Fatalf("this test needs ps (Debian: procps): %v", err)
	}
	for line := range strings.Lines(string(processes)) {
		if strings.Contains(line, home+"/") || strings.Contains(line, "THUMP_HOME="+home) {
			left.WriteString(line[:min(len(line)-1, 150)] + "\n")
		}
	}
	return left.String()
}
