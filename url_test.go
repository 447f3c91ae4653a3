package thump_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
)

func TestParseURL(t *testing.T) {
	// endpoint is the default one, changed.
	endpoint := func(change func(*thump.Endpoint)) thump.Endpoint {
		e := thump.Endpoint{Host: "h", Port: "5672", User: "guest", Password: "guest", Vhost: "/"}
		change(&e)
		return e
	}
	for _, c := range []struct {
		url    string
		change func(*thump.Endpoint)
	}{
		{"amqp://h", func(*thump.Endpoint) {}},
		{"amqp://h/", func(*thump.Endpoint) {}},
		{"amqp://h/%2F", func(*thump.Endpoint) {}},
		{"amqp://h/%2f", func(*thump.Endpoint) {}},
		{"amqp://h:1", func(e *thump.Endpoint) { e.Port = "1" }},
		{"amqp://h:65535/v", func(e *thump.Endpoint) { e.Port, e.Vhost = "65535", "v" }},
		{"amqps://h", func(e *thump.Endpoint) { e.TLS, e.Port = true, "5671" }},
		{"AMQP://h", func(*thump.Endpoint) {}},
		{"amqp://u@h", func(e *thump.Endpoint) { e.User, e.Password = "u", "" }},
		{"amqp://u:@h", func(e *thump.Endpoint) { e.User, e.Password = "u", "" }},
		{"amqp://u:p@h", func(e *thump.Endpoint) { e.User, e.Password = "u", "p" }},
		{"amqp://a%40b:%3A%2F%25%20@h", func(e *thump.Endpoint) { e.User, e.Password = "a@b", ":/% " }},
		{"amqp://u:p:q@h", func(e *thump.Endpoint) { e.User, e.Password = "u", "p:q" }},
		{"amqp://[::1]:5673/a%2Fb%20c", func(e *thump.Endpoint) { e.Host, e.Port, e.Vhost = "::1", "5673", "a/b c" }},
		{"amqp://h/%25", func(e *thump.Endpoint) { e.Vhost = "%" }},
		{"amqp://h/gr%C3%B6%C3%9Fe", func(e *thump.Endpoint) { e.Vhost = "größe" }},
		{"amqp://h/v?heartbeat=30", func(e *thump.Endpoint) { e.Vhost, e.Heartbeat = "v", 30*time.Second }},
		{"amqp://h?connection_timeout=1500", func(e *thump.Endpoint) { e.DialTimeout = 1500 * time.Millisecond }},
		{"amqp://h?frame_max=4096&channel_max=65535", func(e *thump.Endpoint) { e.FrameMax, e.ChannelMax = 4096, 65535 }},
		{"amqp://h?auth_mechanism=PLAIN", func(*thump.Endpoint) {}},
		{"amqp://h?auth_mechanism=external", func(e *thump.Endpoint) { e.External = true }},
		{"amqps://h?cacertfile=/a%20b.pem&server_name_indication=n&verify=verify_peer", func(e *thump.Endpoint) {
			e.TLS, e.Port, e.CACertFile, e.ServerName = true, "5671", "/a b.pem", "n"
		}},
		{"amqps://h?certfile=c&keyfile=k", func(e *thump.Endpoint) {
			e.TLS, e.Port, e.CertFile, e.KeyFile = true, "5671", "c", "k"
		}},
	} {
		got, err := thump.ParseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if want := endpoint(c.change); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %s %+v\nwant %s %+v", c.url, got, fields(got), want, fields(want))
		}
	}
}

// fields shows an endpoint in full.
func fields(e thump.Endpoint) any {
	type plain thump.Endpoint // without String
	return plain(e)
}

func TestParseURLRefuses(t *testing.T) {
	for _, c := range []struct{ url, says string }{
		{"", "scheme"},
		{"localhost", "scheme"},
		{"//localhost", "scheme"},
		{"localhost:5672", "scheme"},
		{"http://h", `"http"`},
		{"amqp:", "no host"},
		{"amqp://", "no host"},
		{"amqp:///v", "no host"},
		{"amqp://:5672", "no host"},
		{"amqp://::1", "brackets"},
		{"amqp://fe80::1:5672/", "brackets"},
		{"amqp://h:0", `port "0"`},
		{"amqp://h:65536", `port "65536"`},
		{"amqp://h:x", "port"},
		{"amqp://h/a/b", "%2F"},
		{"amqp://h//", "%2F"},
		{"amqp://h/v#x", "%23"},
		{"amqp://h?heartbeat=0", "heartbeat"},
		{"amqp://h?heartbeat=-1", "heartbeat"},
		{"amqp://h?heartbeat=65536", "65535"},
		{"amqp://h?heartbeat=5s", `"5s"`},
		{"amqp://h?heartbeat=1&heartbeat=2", "twice"},
		{"amqp://h?connection_timeout=0", "connection_timeout"},
		{"amqp://h?frame_max=4095", "4096"},
		{"amqp://h?frame_max=0", "4096"},
		{"amqp://h?channel_max=0", "channel_max"},
		{"amqp://h?auth_mechanism=gssapi", `"gssapi"`},
		{"amqp://h?prefetch=10", `unknown parameter "prefetch"`},
		{"amqp://h?Heartbeat=10", `unknown parameter "Heartbeat"`},
		{"amqp://h?heartbeat=%zz", "malformed"},
		{"amqps://h?certfile=c", "go together"},
		{"amqps://h?keyfile=k", "go together"},
		{"amqps://h?verify=verify_none", "always verified"},
		{"amqp://h?cacertfile=c", "amqps"},
		{"amqp://h?server_name_indication=n", "amqps"},
		{"amqp://h?certfile=c&keyfile=k", "amqps"},
		{"amqp://u:pass%word1@h", "percent-encoded"},
		{"amqp://u:pass/word1@h", "malformed"},
		{"amqp://u:pass[word1@h", "malformed"},
		{"amqp://u:passw ord1@h", "malformed"},
		{"amqp://u:password1@h:port", "malformed"},
		{"amqp://u:password1@h/a/b", "u:***@h"},
		{"amqp://u:pass?word1@h", ""},
		{"amqp://u:pass#word1@h", ""},
		{"amqp://h\x7f", ""},
	} {
		e, err := thump.ParseURL(c.url)
		if err == nil {
			t.Errorf("%q: parsed as %+v, expected an error that says %q", c.url, fields(e), c.says)
			continue
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: error %q does not say %q", c.url, err, c.says)
		}
		if strings.Contains(err.Error(), "word1") {
			t.Errorf("%q: the error shows the password: %v", c.url, err)
		}
		if !reflect.DeepEqual(e, thump.Endpoint{}) {
			t.Errorf("%q: an endpoint comes with the error", c.url)
		}
	}
}

// TestEndpointHidesPassword prints it in every way there is.
func TestEndpointHidesPassword(t *testing.T) {
	e, err := thump.ParseURL("amqps://user:hunter2@h:1/v?heartbeat=10&cacertfile=c")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.String(), "amqps://user:***@h:1/v"; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{e, &e, []thump.Endpoint{e}, map[int]thump.Endpoint{1: e}, struct{ E thump.Endpoint }{e}} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "hunter2") {
				t.Errorf("%s of %T shows the password: %s", verb, v, text)
			}
		}
	}
}

// FuzzParseURL looks for panics, and for a password in what is printed.
func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"amqp://guest:PASSWORD@localhost:5672/", "amqps://u:PASSWORD@[::1]/%2F?heartbeat=10&cacertfile=x",
		"amqp://u:PASSWORD@h/a/b", "amqp://u:PASSWORD@h:port", "amqp://PASSWORD", "amqp://:PASSWORD@h?frame_max=1",
		"amqp://u:PASSWORD@h/%zz", "amqp://u:PASSWORD%@h", "http://u:PASSWORD@h", "amqp://u:%50ASSWORD@h",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		e, err := thump.ParseURL(raw)
		if err != nil {
			// Where exactly the password of a malformed URL ends nobody can say,
			// but this much is certain to be part of one.
			before, rest, found := strings.Cut(raw, "://")
			_, rest, colon := strings.Cut(rest, ":")
			secret, _, at := strings.Cut(rest, "@")
			if found && colon && at && len(secret) > 3 && !strings.Contains(before+"@"+ownWords, secret) && strings.Contains(err.Error(), secret) &&
				!strings.ContainsAny(secret, "/?#") {
				t.Errorf("%q: the error shows the password: %v", raw, err)
			}
			return
		}
		if e.Host == "" || e.Port == "" || e.Vhost == "" && !strings.HasSuffix(raw, "/") {
			t.Errorf("%q: parsed as %+v", raw, fields(e))
		}
		// Without its password the endpoint prints the same.
		without := e
		without.Password = ""
		if e.String() != without.String() || fmt.Sprintf("%#v", e) != fmt.Sprintf("%#v", without) {
			t.Errorf("%q: printing it depends on the password", raw)
		}
		// What it prints can be parsed, and leads to the same place.
		again, err := thump.ParseURL(e.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", raw, e, err)
		}
		if again.Host != e.Host || again.Port != e.Port || again.User != e.User || again.Vhost != e.Vhost || again.TLS != e.TLS {
			t.Errorf("%q prints as %q, which leads elsewhere: %+v", raw, e, fields(again))
		}
	})
}

// ownWords are those of ParseURL's errors.
const ownWords = "thump: URL: malformed (a password must be percent-encoded) unknown scheme parameter"
