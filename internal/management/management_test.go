package management

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/brokertest"
)

func client(t *testing.T, address, user, password string) *Client {
	t.Helper()
	c, err := New(Config{URL: address, User: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBrokers asks real brokers.
func TestBrokers(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		u, err := url.Parse(b.ManagementURL)
		if err != nil {
			t.Fatal("the management URL does not parse")
		}
		password, _ := u.User.Password()
		c := client(t, b.ManagementURL, u.User.Username(), password)
		name := brokertest.QueueName(t) + "/ö ?"
		path := "queues/%2F/" + url.PathEscape(name)
		brokertest.Manage(t, b.ManagementURL, http.MethodPut, path, map[string]any{"durable": true, "arguments": map[string]any{"x-max-length": 5}})
		defer brokertest.Manage(t, b.ManagementURL, http.MethodDelete, path, nil)

		q, err := c.Queue(t.Context(), "/", name)
		if err != nil || q.Name != name || q.Kind != "classic" || !q.Durable || q.Arguments["x-max-length"] != 5.0 {
			t.Errorf("%+v, %v", q, err)
		}
		list, err := c.Queues(t.Context(), "/", name)
		found := 0
		for _, q := range list {
			if q.Name == name {
				found++
			}
		}
		if err != nil || found != 1 {
			t.Errorf("the list of %d has it %d times, %v", len(list), found, err)
		}
		named, err := c.Named(t.Context(), "/", name)
		if err != nil || len(named) != 1 || named[0].Name != name || named[0].Kind != "classic" {
			t.Errorf("by a part of the name: %+v, %v", named, err)
		}
		exchanges, err := c.Exchanges(t.Context(), "/", "amq.")
		if err != nil || len(exchanges) < 5 {
			t.Errorf("%d exchanges, %v", len(exchanges), err)
		}
		if e, err := c.Exchange(t.Context(), "/", "amq.topic"); err != nil || e.Kind != "topic" || !e.Durable || e.Internal {
			t.Errorf("%+v, %v", e, err)
		}
		brokertest.Manage(t, b.ManagementURL, http.MethodPost, "bindings/%2F/e/amq.topic/q/"+url.PathEscape(name), map[string]any{"routing_key": name})
		routes, err := c.Routes(t.Context(), "/", "amq.topic")
		there := slices.ContainsFunc(routes, func(r Route) bool {
			return r.Destination == name && r.To == "queue" && r.RoutingKey == name
		})
		if err != nil || !there {
			t.Errorf("the exchange leads to %d, and it is not among them, %v", len(routes), err)
		}
		brokertest.Manage(t, b.ManagementURL, http.MethodDelete, "bindings/%2F/e/amq.topic/q/"+url.PathEscape(name)+"/"+url.PathEscape(url.PathEscape(name)), nil)
		bindings, err := c.Bindings(t.Context(), "/", name)
		if err != nil || len(bindings) != 1 || bindings[0].Source != "" || bindings[0].RoutingKey != name {
			t.Errorf("%+v, %v", bindings, err)
		}

		nodes, err := c.Nodes(t.Context())
		if err != nil || len(nodes) != 1 || nodes[0].Name == "" || nodes[0].MemoryBytes == 0 || nodes[0].MemoryAlarm {
			t.Errorf("%+v, %v", nodes, err)
		}
		if _, _, err := c.Connections(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := c.State(t.Context(), "/", name); err != nil {
			t.Error(err)
		}
		if _, err := c.State(t.Context(), "/", name+"-other"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the state of a queue that is not there: %v", err)
		}
		if _, err := c.Queue(t.Context(), "/", name+"-other"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a queue that is not there: %v", err)
		}
		if _, err := c.Queues(t.Context(), "no-such-vhost", ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("a vhost that is not there: %v", err)
		}
		_, err = client(t, b.ManagementURL, u.User.Username(), "canary").Queues(t.Context(), "/", "")
		if err == nil || !strings.Contains(err.Error(), "may not use the management API") || strings.Contains(err.Error(), "canary") {
			t.Errorf("with a wrong password: %v", err)
		}
	})
}

// TestPages reads a list that comes in several.
func TestPages(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := r.URL.Query().Get("page")
		_, _ = fmt.Fprintf(w, `{"page_count": 3, "items": [{"name": "q%s", "arguments": []}]}`, page)
	}))
	defer server.Close()
	list, err := client(t, server.URL, "", "").Queues(t.Context(), "/", "")
	if err != nil || len(list) != 3 || list[0].Name != "q1" || list[2].Name != "q3" || list[0].Ready != nil {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestEndlessPages: a list that says that there is always more comes to an end.
func TestEndlessPages(t *testing.T) {
	for item, want := range map[string]string{`{"name": "q"}`: "ask for a part of the name", "": "<nil>"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"page_count": 1000000000, "items": [%s]}`, item)
		}))
		list, err := client(t, server.URL, "", "").Queues(t.Context(), "/", "")
		server.Close()
		if !strings.Contains(fmt.Sprint(err), want) || len(list) != 0 {
			t.Errorf("%d queues, %v", len(list), err)
		}
	}
}

// TestStrangers asks what is something else, or means harm.
func TestStrangers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a page":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>\x1b[31m")) },
		"a wrong type": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`[1, 2]`)) },
		"a refusal": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte("no"))
		},
		"no end": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"a redirection": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"a reason": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = w.Write([]byte(`{"reason": "\u001b[31m"}`))
		},
	} {
		server := httptest.NewServer(answer)
		_, err := client(t, server.URL, "user", "canary").Queues(t.Context(), "/", "")
		server.Close()
		if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %q", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, "http://127.0.0.1:1", "", "").Queues(ctx, "/", ""); err == nil {
		t.Error("no error of a context that has ended")
	}
	if _, err := client(t, "http://127.0.0.1:1", "", "").Queues(t.Context(), "/", ""); !errors.Is(err, ErrAbsent) {
		t.Errorf("where nothing listens: %v", err)
	}
}

// TestFailures: an API that fails now and then is asked again, and one that always does not for ever.
func TestFailures(t *testing.T) {
	for failures, want := range map[int]int{triesMost - 1: triesMost, 1000: triesMost} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked <= failures {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			_, _ = w.Write([]byte(`{"page_count": 1, "items": [{"name": "q"}]}`))
		}))
		list, err := client(t, server.URL, "", "").Queues(t.Context(), "/", "")
		server.Close()
		if failed := errors.Is(err, errFailed); asked != want || failed != (failures >= want) || !failed && len(list) != 1 {
			t.Errorf("it was to fail %d times, and was asked %d times: %d queues, %v", failures, asked, len(list), err)
		}
		if errors.Is(err, ErrAbsent) {
			t.Errorf("what fails is there: %v", err)
		}
	}
}

func TestNew(t *testing.T) {
	for _, text := range []string{"", "host:15672", "ftp://host", "http://", "http://host?x=1", "http://user:canary@\x00"} {
		if _, err := New(Config{URL: text}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := New(Config{URL: "https://host", CACertFile: "nowhere.pem"}); err == nil {
		t.Error("no error for a file that is not there")
	}
}
