// Package brokertest gives tests real RabbitMQ nodes: those that
// scripts/with-brokers has started, one for each version, which all tests share; and
// private nodes for one test, which it may kill, stop or fill.
package brokertest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/broker"
)

// The environment variables that scripts/with-brokers sets for its command.
const (
	EnvBrokers     = "THUMP_TEST_BROKERS"      // NAME=AMQP-URL entries, separated by blanks
	EnvBrokersFile = "THUMP_TEST_BROKERS_FILE" // the path of a JSON file with a []Broker
)

// Broker is a RabbitMQ to test against. One that somebody named in EnvBrokers by hand
// has only Name and URL.
type Broker struct {
	Name    string `json:"name"`    // its release series, like "3.10"
	Version string `json:"version"` // the version that it reports, like "3.10.8"

	URL           string `json:"url"` // amqp, with an administrator's name and password
	StreamURL     string `json:"stream_url"`
	ManagementURL string `json:"management_url"` // http, with the same name and password

	// The TLS listeners. The authority in CAFile signed their certificate, which is for
	// localhost and 127.0.0.1. With the client certificate, the mechanism EXTERNAL logs
	// in as TLSUser, who has no password.
	TLSURL         string `json:"tls_url"`        // amqps, with name and password
	StreamTLSURL   string `json:"stream_tls_url"` // rabbitmq-stream+tls, likewise
	CAFile         string `json:"ca_file"`
	ClientCertFile string `json:"client_cert_file"`
	ClientKeyFile  string `json:"client_key_file"`
	TLSUser        string `json:"tls_user"`

	Dir    string `json:"dir"`    // the node's folder, for broker.Open
	Chroot string `json:"chroot"` // the tree with its RabbitMQ; empty for the installed one
}

// Each runs a subtest against each broker. Without a broker the test fails; it is never
// skipped.
func Each(t *testing.T, test func(t *testing.T, b Broker)) {
	t.Helper()
	for _, b := range All(t) {
		t.Run("rabbitmq-"+b.Name, func(t *testing.T) { test(t, b) })
	}
}

// All returns the brokers to test against, at least one. Without a broker the test
// fails.
func All(t testing.TB) []Broker {
	t.Helper()
	entries := strings.Fields(os.Getenv(EnvBrokers))
	if len(entries) == 0 {
		t.Fatalf("no RabbitMQ to test against: run make test, or scripts/with-brokers go test ... (%s is not set)", EnvBrokers)
	}
	var known []Broker
	if path := os.Getenv(EnvBrokersFile); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("reading %s: %v", EnvBrokersFile, err)
		}
		if err := json.Unmarshal(data, &known); err != nil {
			t.Fatalf("reading %s: %v", EnvBrokersFile, err)
		}
	}
	var brokers []Broker
	for _, entry := range entries {
		name, url, found := strings.Cut(entry, "=")
		if !found {
			t.Fatalf("%s has an entry that is not NAME=URL", EnvBrokers) // not shown: it may hold a password
		}
		b := Broker{Name: name, URL: url}
		for _, k := range known {
			if k.Name == name && k.URL == url {
				b = k
			}
		}
		brokers = append(brokers, b)
	}
	return brokers
}

// Node opens the broker as a node, to run rabbitmqctl on it or to read its processor
// time. Other tests use it at the same time: don't stop it.
func (b Broker) Node(t testing.TB) *broker.Node {
	t.Helper()
	node, err := broker.Open(b.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// Private starts a node of b's version for this test only, and kills it when the test
// ends. It sets Dir and Chroot of o, and Attached: should the test process be killed, the
// node goes with it.
func (b Broker) Private(t testing.TB, o broker.Options) *broker.Node {
	t.Helper()
	o.Dir, o.Chroot, o.Attached = b.privateDir(t), b.Chroot, true
	node, err := broker.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// privateDir is a folder for a node of this test only, which is killed when the test ends.
func (b Broker) privateDir(t testing.TB) string {
	t.Helper()
	dir, err := TempDir(b.Chroot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test may have restarted it, so this opens the one that runs now.
		if node, err := broker.Open(dir); err == nil {
			if err := node.Kill(); err != nil {
				t.Errorf("stopping a private node: %v", err)
			}
		} else if !errors.Is(err, broker.ErrNotRunning) {
			t.Errorf("stopping a private node: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing a private node: %v", err)
		}
	})
	return dir
}

// Restart starts a node of Private again after Stop or Kill. It has the queues and the
// user that it had before, and the ports that are still free.
func (b Broker) Restart(t testing.TB, node *broker.Node, o broker.Options) *broker.Node {
	t.Helper()
	o.Dir, o.Chroot, o.Attached = node.Dir, b.Chroot, true
	again, err := broker.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// TempDir makes a folder for a node, inside chroot unless that is empty. The caller
// removes it. t.TempDir is no use here: RabbitMQ's user can't enter it, and it is not
// inside a chroot.
func TempDir(chroot string) (string, error) {
	parent := os.TempDir()
	if chroot != "" {
		parent = filepath.Join(chroot, "var", "tmp")
	}
	return os.MkdirTemp(parent, "thump-test-")
}

// QueueName returns a name that no other test uses and that contains the test's name.
func QueueName(t testing.TB) string {
	plain := regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(t.Name(), "-")
	return plain[:min(len(plain), 100)] + "-" + rand.Text()[:8]
}

// Manage sends a request to a node's management API and returns the body of the
// response. The test fails unless the status is 2xx. managementURL is that of a Broker
// or a Node, path begins after "/api/", and body is sent as JSON unless it is nil.
//
// A request that can be repeated is, where the API has failed: that of a busy node does
// where a connection that it is to list or to close has just ended.
func Manage(t testing.TB, managementURL, method, path string, body any) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		answer, err := manage(ctx, managementURL, method, path, body)
		if err == nil {
			return answer
		}
		if method == http.MethodPost || !errors.Is(err, errAPIFailed) || ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// errAPIFailed is a status of 500 or more.
var errAPIFailed = errors.New("the management API has failed")

func manage(ctx context.Context, managementURL, method, path string, body any) ([]byte, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = strings.NewReader(string(data))
	}
	request, err := http.NewRequestWithContext(ctx, method, managementURL+"api/"+path, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy, no goroutine left
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		err := errors.New("management API: " + method + " " + path + ": " + response.Status + ": " + string(answer))
		if response.StatusCode >= 500 {
			err = fmt.Errorf("%w: %w", errAPIFailed, err)
		}
		return nil, err
	}
	return answer, nil
}
