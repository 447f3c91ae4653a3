package brokertest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/thumpmq/thump/internal/broker"
)

func TestBrokers(t *testing.T) {
	Each(t, func(t *testing.T, b Broker) {
		if !strings.HasPrefix(b.Version, b.Name+".") {
			t.Errorf("broker %q is of version %q", b.Name, b.Version)
		}
		t.Run("listens on loopback only", func(t *testing.T) { checkListeners(t, b.Node(t).PID) })
		t.Run("serves TLS", func(t *testing.T) { checkTLS(t, b) })
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

func checkTLS(t *testing.T, b Broker) {
	authority, err := os.ReadFile(b.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client, err := tls.LoadX509KeyPair(b.ClientCertFile, b.ClientKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(b.TLSURL)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		external := "amqps://" + net.JoinHostPort(host, address.Port()) + "/"
		conn, err := amqp091.DialTLS_ExternalAuth(external, &tls.Config{
			RootCAs: roots, Certificates: []tls.Certificate{client}, ServerName: host,
		})
		if err != nil {
			t.Errorf("logging in to %s by certificate: %v", host, err)
			continue
		}
		if err := conn.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	conn, err := amqp091.DialTLS(b.TLSURL, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Errorf("logging in by password: %v", err)
	} else {
		if err := conn.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	if _, err := tls.Dial("tcp", address.Host, nil); err == nil {
		t.Error("a client that doesn't know the authority trusts the broker")
	}
}
