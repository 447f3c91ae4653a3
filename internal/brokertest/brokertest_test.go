package brokertest

import (
	"encoding/json"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/broker"
)

func TestBrokers(t *testing.T) {
	Each(t, func(t *testing.T, b Broker) {
		if !strings.HasPrefix(b.Version, b.Name+".") {
			t.Errorf("broker %q is of version %q", b.Name, b.Version)
		}
		t.Run("listens on loopback only", func(t *testing.T) { checkListeners(t, b.Node(t).PID) })
		t.Run("obeys rabbitmqctl", func(t *testing.T) {
			output, err := b.Node(t).Ctl(t.Context(), "list_users", "--silent")
			if err != nil || !strings.Contains(output, tlsUser) || strings.Contains(output, "guest") {
				t.Errorf("list_users: %q, %v", output, err)
			}
		})
		t.Run("has its management API", func(t *testing.T) {
			queue := "queues/%2F/" + QueueName(t)
			Manage(t, b.ManagementURL, "PUT", queue, map[string]bool{"durable": true})
			var answer struct{ Durable bool }
			if err := json.Unmarshal(Manage(t, b.ManagementURL, "GET", queue, nil), &answer); err != nil || !answer.Durable {
				t.Errorf("the queue is %+v, %v", answer, err)
			}
			Manage(t, b.ManagementURL, "DELETE", queue, nil)
		})
	})
}

func TestPrivate(t *testing.T) {
	Each(t, func(t *testing.T, b Broker) {
		t.Parallel()
		node := b.Private(t, broker.Options{ExtraConfig: "frame_max = 8192"})
		if node.Version != b.Version || node.URL == b.URL {
			t.Errorf("the node is %s at %s, want %s elsewhere", node.Version, node.URL, b.Version)
		}
		if seconds, ok := node.CPUSeconds(); !ok || seconds == 0 {
			t.Errorf("CPUSeconds() = %v, %v", seconds, ok)
		}
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
		again := b.Restart(t, node, broker.Options{})
		if again.URL != node.URL {
			t.Errorf("restarted at %s, want %s", again.URL, node.URL)
		}
		if err := again.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func checkListeners(t *testing.T, pid int) {
	output, err := exec.Command("ss", "-Hltnp").Output()
	if err != nil {
		t.Fatalf("this test needs ss (Debian: iproute2): %v", err)
	}
	found := 0
	for line := range strings.Lines(string(output)) {
		if !strings.Contains(line, "pid="+strconv.Itoa(pid)+",") {
			continue
		}
		found++
		host, _, err := net.SplitHostPort(strings.Fields(line)[3])
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			t.Errorf("the node listens on %s", strings.TrimSpace(line))
		}
	}
	if found != 6 { // AMQP and stream, each also with TLS, management, Erlang
		t.Errorf("ss shows %d of the node's listeners, want 6:\n%s", found, output)
	}
}
