package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestMoveElsewhere moves messages from each broker to each other one, of another version, and into
// another vhost of the same one: all that they have is there.
func TestMoveElsewhere(t *testing.T) {
	t.Parallel()
	all := brokertest.All(t)
	for _, from := range all {
		for _, to := range all {
			t.Run(from.Name+" to "+to.Name, func(t *testing.T) {
				t.Parallel()
				target := to.URL
				if from.Name == to.Name {
					var remove func()
					target, remove = otherVhost(t, to)
					defer remove()
				}
				testMoveElsewhere(t, from.URL, target)
			})
		}
	}
}

// otherVhost makes a vhost, and returns its URL. remove removes it, before the test's context ends.
func otherVhost(t *testing.T, b brokertest.Broker) (where string, remove func()) {
	t.Helper()
	u, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal("the test broker's URL does not parse")
	}
	name := brokertest.QueueName(t)
	brokertest.Manage(t, b.ManagementURL, http.MethodPut, "vhosts/"+name, nil)
	brokertest.Manage(t, b.ManagementURL, http.MethodPut, "permissions/"+name+"/"+u.User.Username(), map[string]string{"configure": ".*", "write": ".*", "read": ".*"})
	u.Path = "/" + name
	return u.String(), func() { brokertest.Manage(t, b.ManagementURL, http.MethodDelete, "vhosts/"+name, nil) }
}

func testMoveElsewhere(t *testing.T, from, to string) {
	t.Helper()
	const count = 300
	queue, folder := brokertest.QueueName(t), t.TempDir()
	for _, where := range []string{from, to} {
		defer declareAt(t, where, queue)()
	}
	var lines strings.Builder
	for i := range count {
		fmt.Fprintf(&lines, `{"routing_key":%q,"content_type":"a/b","headers":{"d":{"decimal":"1.50"},"l":[true,null,{"bytes":"AP8="}],"n":{"uint16":%d}},"delivery_mode":2,"priority":3,"timestamp":"2026-11-27T10:00:00Z","body":"message %[2]d"}`+"\n", queue, i)
	}
	sent, got := filepath.Join(folder, "sent.ndjson"), filepath.Join(folder, "got.ndjson")
	if err := os.WriteFile(sent, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	moved := fmt.Sprintf("%d taken, %[1]d confirmed, %[1]d acked, 0 left, 0 that may be there twice", count)
	for _, step := range []struct {
		url  string
		args []string
		says string
	}{
		{from, []string{"send", queue, sent}, "all confirmed"},
		{from, []string{"move", queue, queue, "--to-url", to}, moved},
		{to, []string{"receive", queue, "--count", fmt.Sprint(count), "--output", got}, ""},
	} {
		p := start(t, step.url, step.args...)
		if code := p.wait(); code != exitOK || !strings.Contains(p.stdout.String(), step.says) {
			t.Fatalf("%v: exit code %d\n%s%s", step.args, code, &p.stdout, &p.stderr)
		}
	}
	text, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != lines.String() {
		t.Errorf("the first of them came as %s", strings.SplitAfterN(string(text), "\n", 2)[0])
	}
}

// declareAt makes a queue. remove deletes it.
func declareAt(t *testing.T, where, queue string) (remove func()) {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{where}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeclareQueue(t.Context(), thump.QueueSpec{Name: queue}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := client.DeleteQueue(t.Context(), queue, thump.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		hangUp(t, client)
	}
}
