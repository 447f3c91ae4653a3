package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/brokertest"
)

// TestTimeLeftOfRuns looks at the bars of runs that a time ends: what they first say of the time
// left is no more than that. A ramp's rate at its beginning says much more.
func TestTimeLeftOfRuns(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	for _, flags := range []string{"--rate 1..400:3s", "--duration 3s", "--duration 3s --count 1g"} {
		args := append([]string{"run", "--url", b.URL, "--queue", brokertest.QueueName(t)}, strings.Fields(flags)...)
		code, shown := atTerminal(t, "[y/N]", "", args...)
		if code != exitOK {
			t.Errorf("%s: exit code %d\n%s", flags, code, shown)
		}
		first := regexp.MustCompile(`sent +[0-9 /]+ \[[=>-]+\].* ([0-9hms]+) left`).FindStringSubmatch(shown)
		if first == nil {
			t.Errorf("%s: no bar with the time left\n%s", flags, shown)
			continue
		}
		if left, err := time.ParseDuration(first[1]); err != nil || left > 3*time.Second {
			t.Errorf("%s: the first bar with the time left is %q", flags, first[0])
		}
	}
}
