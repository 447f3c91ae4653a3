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
		{"amqp://[fe80::1%25eth0]", func(e *thump.Endpoint) { e.Host = "fe80::1%eth0" }},
		{"amqps://h?cacertfile=/a+b.pem", func(e *thump.Endpoint) { e.TLS, e.Port, e.CACertFile = true, "5671", "/a+b.pem" }},
		{"amqps://h?cacertfile=/a%2Bb&server_name_indication=n=m", func(e *thump.Endpoint) {
			e.TLS, e.Port, e.CACertFile, e.ServerName = true, "5671", "/a+b", "n=m"
		}},
		{"amqp://u:a+b@h", func(e *thump.Endpoint) { e.User, e.Password = "u", "a+b" }},
		{"amqp://größe", func(e *thump.Endpoint) { e.Host = "größe" }},
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
		{"rabbitmq-stream://h", func(e *thump.Endpoint) { e.Protocol, e.Port = thump.Streams, "5552" }},
		{"rabbitmq-stream://h:1/v?load_balancer=true", func(e *thump.Endpoint) {
			e.Protocol, e.Port, e.Vhost, e.LoadBalancer = thump.Streams, "1", "v", true
		}},
		{"rabbitmq-stream+tls://h?load_balancer=false", func(e *thump.Endpoint) {
			e.Protocol, e.TLS, e.Port = thump.Streams, true, "5551"
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
		{"amqp://h:0", "no number from 1"},
		{"amqp://h:65536", "no number from 1"},
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
		{"amqp://h?load_balancer=true", "load_balancer is for streams"},
		{"rabbitmq-stream://h?load_balancer=yes", "load_balancer"},
		{"rabbitmq-streams://h", "unknown scheme"},
		{"amqps://h?certfile=c", "go together"},
		{"amqps://h?keyfile=k", "go together"},
		{"amqps://h?verify=verify_none", "always verified"},
		{"amqps://h?server_name_indication=disable", "it can't be disabled"},
		{"amqp://h?cacertfile=c", "amqps"},
		{"amqp://h?server_name_indication=n", "amqps"},
		{"amqp://h?certfile=c&keyfile=k", "amqps"},
		{"amqp://u:pass%word1@h", "percent-encoded"},
		{"amqp://u:pass/word1@h", "%2F"},
		{"amqp://u:pass[word1@h", "percent-encoded"},
		{"amqp://u:passw ord1@h", "a blank in the middle"},
		{"amqp://u:password1@h:port", "the port is no number"},
		{"amqp://u:password1@h/a/b", "u:***@h"},
		{"amqp://u:pass?word1@h", "%3F"},
		{"amqp://u:password1", "is the host missing"},
		{"amqp://u:1234567", "is the host missing"},
		{"amqp://u:12?word1", "is the host missing"},
		{"amqp://u:12?heartbeat=word1", "is the host missing"},
		{"amqp://h:5672/?colour=1", `h:5672: unknown parameter "colour"`},
		{"amqp://u:pass#word1@h", "%23"},
		{"amqp://h\x7f", "ends with a control character"},
		{"amqp://u:password1@h/v\n", "ends with a line break"},
		{"amqp://u:password1@h/v\r\n", "ends with a line break"},
		{"amqp://u:password1@h/v ", "ends with a blank"},
		{" amqp://u:password1@h/v", "begins with a blank"},
		{"\uFEFFamqp://u:password1@h/v", "begins with a character that can't be seen"},
		{"amqp://u:password1@h\u202e/v", "%E2%80%AE"},
		{"amqp://u:password1@h/a b", "a blank in the middle"},
		{"amqp://u:pass\x01word1@h/v", "a control character in the middle"},
		{"amqp://u:pass\xffword1@h/v", "not UTF-8"},
		{"amqp://u:password1@[fe80::1%eth0]/", "%25"},
		{"amqp://u:password1@[fe80::1%25]/", "%25"},
		{"amqp://u:password1@fe80::1%25eth0/", "brackets"},
		{"amqp://u:password1@[::1/", "["},
		{"amqp://u:password1@[::1]x/", ":port"},
		{"amqp://u:password1@[h]/", "no IPv6 address"},
		{"amqp://u:password1@[127.0.0.1]/", "no IPv6 address"},
		{"amqp://u:password1@ho%61st/", "the host is percent-encoded"},
		{"amqp://u:password1@h1:5672,h2:5672/", "a list of hosts"},
		{"amqp://u:password1@h1,h2", "Config.URLs"},
		{"amqp://u:password1@h1,amqp://u:password1@h2", "more than one URL"},
		{"amqp://u:password1@h/v%", "% in the vhost"},
		{"amqp://u:password1@h/v%zz", "% in the vhost"},
		{"amqp://u:pass%zzword1@h/v", "% in user or password"},
		{"amqps://u:password1@h?cacertfile=%zz", `"cacertfile" is malformed`},
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

// TestEndpointString checks that it shows the scheme that was parsed.
func TestEndpointString(t *testing.T) {
	for _, want := range []string{
		"amqp://u:***@h:1", "amqps://u:***@h:1/v", "rabbitmq-stream://u:***@[::1]:1", "rabbitmq-stream+tls://u:***@h:1/a%2Fb",
		"amqp://u:***@[fe80::1%25eth0]:1", "amqp://a%40b%3Ac:***@h:1/v%40w",
	} {
		e, err := thump.ParseURL(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.String(); got != want {
			t.Errorf("got %q, expected %q", got, want)
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
		if again.Host != e.Host || again.Port != e.Port || again.User != e.User || again.Vhost != e.Vhost || again.TLS != e.TLS || again.Protocol != e.Protocol {
			t.Errorf("%q prints as %q, which leads elsewhere: %+v", raw, e, fields(again))
		}
	})
}

// ownWords are those of ParseURL's errors.
const ownWords = "thump: URL: malformed a character in user or password that must be percent-encoded (letters, digits and -._~ need not be) " +
	"a % in user or password that no two hexadecimal digits follow: both are percent-encoded, and % itself is %25 unknown scheme parameter " +
	"an IPv6 address is written in brackets: [::1] (and a colon or slash in a password as %3A and %2F) a list of hosts: a URL names one, and Config.URLs takes several URLs " +
	"a [ without its ] after the ] of an address comes :port, or nothing the host is percent-encoded: it is written as it is has a character that no host name has " +
	"the port is no number from 1 to 65535 it begins with ends line break blank byte control middle vhost file name"
