package conformance

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// Connecting over the stream protocol.

// streamAs is the broker's stream URL with another user and password.
func (r *rig) streamAs(user, password string) string {
	r.Helper()
	u, err := url.Parse(r.broker.StreamURL)
	r.noError(err)
	u.User = url.UserPassword(user, password)
	return u.String()
}

// eachStreamRig runs test against every broker, with the engine for streams.
func eachStreamRig(t *testing.T, test func(*rig)) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		r := newRig(t, b, streamEngine())
		defer r.deleteUsers()
		test(r)
	})
}

func TestStreamServer(t *testing.T) {
	eachStreamRig(t, func(r *rig) {
		client := r.dial(urls(r.broker.StreamURL))
		server := client.Server()
		u, _ := url.Parse(r.broker.StreamURL)
		if server.Product != "RabbitMQ" || server.Version != r.broker.Version || server.Address != u.Host || server.Cluster != r.client.Server().Cluster {
			r.Errorf("got %+v, expected RabbitMQ %s at %s", server, r.broker.Version, u.Host)
		}
		r.streamWorks(client)
		// For queues, the same host is tried with AMQP's usual port, where the
		// broker of this test is not.
		if _, err := client.InspectQueue(r.Context(), "any"); err == nil {
			r.Error("a queue was found without an address for AMQP")
		}
	})
}

// streamWorks sends something through a stream with that client.
func (r *rig) streamWorks(client *thump.Client) {
	r.Helper()
	stream := r.stream(thump.StreamSpec{})
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(stream)})
	r.noError(err)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream)})
	r.noError(err)
	r.publish(p, numbered(1000)...)
	r.noError(p.Close(r.Context()))
	r.inOrder(r.receive(c, 1000, nil), 1)
	r.noError(c.Close(r.Context()))
}

func TestStreamRefusedLogin(t *testing.T) {
	t.Parallel()
	eachStreamRig(t, func(r *rig) {
		u, err := url.Parse(r.broker.StreamURL)
		r.noError(err)
		err = r.refusal(urls(r.streamAs(u.User.Username(), "not-the-password")), "authentication failure", u.Host, u.User.Username())
		r.brokerError(err, 8)
		err = r.refusal(urls(r.streamAs(unique("nobody"), "secret-of-nobody")), "authentication failure")
		r.brokerError(err, 8)
		err = r.refusal(urls(strings.TrimSuffix(r.broker.StreamURL, "/")+"/no-such-vhost"), "no-such-vhost", "virtual host")
		r.brokerError(err, 12)
		name := unique("stranger")
		r.user(name, "secret-of-the-stranger", "")
		err = r.refusal(urls(r.streamAs(name, "secret-of-the-stranger")), "virtual host")
		r.brokerError(err, 12)
		// With both kinds of URL the streams' password is looked at when it is used.
		client := r.dial(urls(r.broker.URL, r.streamAs(u.User.Username(), "not-the-password")))
		_, err = client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream("any")})
		r.brokerError(err, 8)
		if strings.Contains(err.Error(), "not-the-password") {
			r.Errorf("the error shows the password: %v", err)
		}
	})
}

func TestStreamNoPermission(t *testing.T) {
	eachStreamRig(t, func(r *rig) {
		stream := r.stream(thump.StreamSpec{})
		name := unique("guest")
		r.user(name, "secret", "^$")
		client := r.dial(urls(r.streamAs(name, "secret")))
		ctx := r.Context()
		declare := client.DeclareStream(ctx, thump.StreamSpec{Name: unique("stream")})
		remove := client.DeleteStream(ctx, stream)
		_, publisher := client.Publisher(ctx, thump.PublisherConfig{To: thump.Stream(stream)})
		_, consumer := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Stream(stream)})
		for _, err := range []error{declare, remove, publisher, consumer} {
			r.streamError(err, 16)
			r.says(err, "access refused")
		}
		r.take(stream, 0)
	})
}

func TestStreamNothingListens(t *testing.T) {
	eachStreamRig(t, func(r *rig) {
		dead := deadAddress(r)
		r.refused(urls("rabbitmq-stream://guest:secret1234@"+dead+"/"), dead, "refused")
		r.refused(urls("rabbitmq-stream+tls://guest:secret1234@"+dead+"/"), dead, "refused")
		r.refused(urls("rabbitmq-stream://guest:secret1234@host.invalid/"), "host.invalid")
		// The first one that answers is taken.
		r.streamWorks(r.dial(urls("rabbitmq-stream://guest:secret1234@"+dead+"/", r.broker.StreamURL, "rabbitmq-stream://"+dead)))
		r.streamWorks(r.dial(urls(r.broker.StreamURL + "?load_balancer=true")))
		// Where only AMQP's address is known, the host's usual port is tried.
		client := r.dial(urls(r.broker.URL))
		_, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream("any")})
		r.says(err, "127.0.0.1:5552", "no URL for streams was given")
		// What speaks AMQP does not speak streams, and the other way round.
		r.refused(urls(strings.Replace(r.broker.URL, "amqp:", "rabbitmq-stream:", 1)), "stream")
		r.refused(urls(strings.Replace(r.broker.StreamURL, "rabbitmq-stream:", "amqp:", 1)), "greeting", "closed the connection")
	})
}

// TestNotAStreamServer connects to what is no broker.
func TestNotAStreamServer(t *testing.T) {
	r := &rig{T: t}
	for _, greeting := range []string{"HTTP/1.1 400 Bad Request\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "AMQP\x00\x00\x09\x01"} {
		r.refused(urls("rabbitmq-stream://guest:secret1234@"+r.listener(greeting, true)+"/"), "stream")
	}
	r.refused(urls("rabbitmq-stream://guest:secret1234@"+r.listener("", true)+"/"), "closed")
	silent := r.listener("", false)
	start := time.Now()
	r.refused(urls("rabbitmq-stream://guest:secret1234@"+silent+"/?connection_timeout=300"), silent, "deadline")
	r.refused(urls("rabbitmq-stream+tls://guest:secret1234@"+silent+"/?connection_timeout=300"), "TLS", "deadline")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("two timeouts of 300 ms took %v", took)
	}
}

func TestStreamTLS(t *testing.T) {
	t.Parallel()
	eachStreamRig(t, func(r *rig) {
		b := r.broker
		ca := "?cacertfile=" + url.QueryEscape(b.CAFile)
		external, err := url.Parse(b.StreamTLSURL)
		r.noError(err)
		external.User = nil
		client := "&certfile=" + url.QueryEscape(b.ClientCertFile) + "&keyfile=" + url.QueryEscape(b.ClientKeyFile)
		good := map[string]thump.Config{
			"by address":         urls(b.StreamTLSURL + ca),
			"by name":            urls(strings.Replace(b.StreamTLSURL, "127.0.0.1", "localhost", 1) + ca),
			"by another name":    urls(b.StreamTLSURL + ca + "&server_name_indication=localhost"),
			"roots in Config":    {URLs: []string{b.StreamTLSURL}, TLS: r.roots(b.CAFile)},
			"client certificate": urls(b.StreamTLSURL + ca + client),
			"load balancer":      urls(b.StreamTLSURL + ca + "&load_balancer=true"),
		}
		byCertificate := urls(external.String() + ca + client + "&auth_mechanism=external")
		if r.atLeast("3.11") {
			good["EXTERNAL"] = byCertificate
		} else { // the process that serves the connection crashes (rabbit_auth_mechanism_ssl)
			r.refused(byCertificate, "logging in", "closed the connection")
		}
		for name, good := range good {
			c, err := thump.Dial(r.Context(), good)
			if err != nil {
				r.Errorf("%s: %v", name, err)
				continue
			}
			r.streamWorks(c)
			r.sizesSurvive(c, 0, 100, 65536, largestBody)
			r.noError(c.Close(r.Context()))
		}
		other, err := brokertest.NewAuthority(r.TempDir())
		r.noError(err)
		r.refused(urls(b.StreamTLSURL), "TLS", "authority")
		r.refused(urls(b.StreamTLSURL+"?cacertfile="+url.QueryEscape(other.CAFile)), "TLS", "authority")
		r.refused(urls(b.StreamTLSURL+ca+"&server_name_indication=wrong.example"), "TLS", "wrong.example")
		strangers := "&certfile=" + url.QueryEscape(other.ClientCertFile) + "&keyfile=" + url.QueryEscape(other.ClientKeyFile)
		r.refused(urls(b.StreamTLSURL+ca+strangers), "tls:") // the broker's word: unknown authority
		loose := "&certfile=" + url.QueryEscape(b.ClientCertFile) + "&keyfile=" + url.QueryEscape(r.looseKey())
		r.refused(urls(b.StreamTLSURL+ca+loose), "keyfile", "mode 0644", "chmod 600")
		r.refused(urls(external.String() + ca + "&auth_mechanism=external"))
		r.refused(urls(strings.Replace(b.StreamURL, "stream:", "stream+tls:", 1)+ca), "TLS")
		r.refused(urls(strings.Replace(b.StreamTLSURL, "stream+tls:", "stream:", 1)), "TLS")
	})
}

// TestStreamUpdateSecret gives the broker another password for connections that
// go on, which it takes since 3.13.
func TestStreamUpdateSecret(t *testing.T) {
	t.Parallel()
	eachStreamRig(t, func(r *rig) {
		name, stream := unique("user"), r.stream(thump.StreamSpec{})
		r.user(name, "the first", ".*")
		client := r.dial(urls(r.streamAs(name, "the first")))
		ctx := r.Context()
		p, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Stream(stream)})
		r.noError(err)
		c, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Stream(stream)})
		r.noError(err)
		r.publish(p, numbered(1)...)
		r.flush(p)
		r.password(name, "the second")
		_, err = client.Consumer(ctx, thump.ConsumerConfig{From: thump.Stream(stream)})
		r.brokerError(err, 8) // still with the first
		err = client.UpdateSecret(ctx, "the second", "rotation")
		if !r.lacks("3.13", err) {
			r.noError(err)
		}
		r.publish(p, numbered(1)...)
		r.flush(p)
		p, err = client.Publisher(ctx, thump.PublisherConfig{To: thump.Stream(stream)}) // a new connection
		r.noError(err)
		r.publish(p, numbered(1)...)
		r.flush(p)
		r.receive(c, 3, (*thump.Batch).Ack)
		r.noError(client.Close(ctx))
	})
}

// TestStreamVhostDeleted deletes the vhost of a stream that is in use.
func TestStreamVhostDeleted(t *testing.T) {
	t.Parallel()
	eachStreamRig(t, func(r *rig) {
		vhost := unique("größe /%2F?#")
		path := "vhosts/" + url.PathEscape(vhost)
		r.manage("PUT", path, map[string]string{})
		admin, _ := url.Parse(r.broker.StreamURL)
		everything := map[string]string{"configure": ".*", "write": ".*", "read": ".*"}
		r.manage("PUT", "permissions/"+url.PathEscape(vhost)+"/"+admin.User.Username(), everything)
		client := r.dial(urls(strings.TrimSuffix(r.broker.StreamURL, "/") + "/" + url.PathEscape(vhost)))
		ctx := r.Context()
		r.noError(client.DeclareStream(ctx, thump.StreamSpec{Name: "stream"}))
		l := newLedger()
		p, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Stream("stream"), OnOutcomes: l.note})
		r.noError(err)
		c, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Stream("stream")})
		r.noError(err)
		r.publish(p, numbered(1)...)
		r.flush(p)
		r.receive(c, 1, nil)
		r.manage("DELETE", path, nil)
		<-p.Done()
		if err := p.Flush(ctx); err == nil || errors.Is(err, thump.ErrClosed) {
			r.Errorf("the vhost is gone: %v", err)
		}
		l.check(r, 1, always(thump.Confirmed))
		for err == nil {
			_, err = c.Receive(ctx)
		}
		r.says(err, `stream "stream"`)
		_, err = client.InspectStream(ctx, "stream")
		if err == nil {
			r.Error("the stream of a vhost that was deleted was found")
		}
	})
}

// TestAdvertisedElsewhere has a node that tells clients to find it where it is
// not: it was found already.
func TestAdvertisedElsewhere(t *testing.T) {
	t.Parallel()
	eachPrivate(t, broker.Options{ExtraConfig: "stream.advertised_host = nowhere.invalid\nstream.advertised_port = 1"}, func(r *rig, _ *broker.Node) {
		r.streamWorks(r.client)
		r.streamWorks(r.dial(urls(r.broker.StreamURL + "?load_balancer=true")))
		info, err := r.client.InspectStream(r.Context(), r.stream(thump.StreamSpec{}))
		if err != nil || info.Leader != "nowhere.invalid:1" {
			r.Errorf("got %+v, %v, expected the leader as it is advertised", info, err)
		}
		r.passwordStays()
	})
}

// passwordStays has a client that knows its node by another name than the metadata
// does, as a client of a cluster does that was sent on to another node. Where that is on
// another machine, no byte is sent there in clear.
func (r *rig) passwordStays() {
	r.Helper()
	u, err := url.Parse(r.broker.StreamURL)
	r.noError(err)
	for _, there := range []string{"192.0.2.7", "127.0.0.1"} {
		var sent atomic.Int64
		cfg := urls(r.broker.StreamURL)
		cfg.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, u.Host)
			switch {
			case err != nil:
				return nil, err
			case address == u.Host:
				return renamed{conn}, nil
			default:
				return elsewhere{conn, there, &sent}, nil
			}
		}
		client := r.dial(cfg)
		stream := r.stream(thump.StreamSpec{})
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(stream)})
		if there == "127.0.0.1" {
			r.noError(err)
			r.publish(p, numbered(10)...)
			r.noError(p.Close(r.Context()))
			continue
		}
		_, failed := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream)})
		for _, err := range []error{err, failed} {
			if err == nil || !strings.Contains(err.Error(), "another machine") || !strings.Contains(err.Error(), "load_balancer=true") {
				r.Errorf("got %v, expected that the password stays here", err)
			}
		}
		if n := sent.Load(); n != 0 {
			r.Errorf("%d bytes were sent to another machine", n)
		}
	}
}

// renamed is a connection on which the node gives itself another name, of the same
// length, at login, and only there.
type renamed struct{ net.Conn }

func (c renamed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if i := bytes.Index(b[:n], []byte("advertised_host")); i >= 0 {
		copy(b[i:n], bytes.ReplaceAll(b[i:n], []byte("nowhere"), []byte("another")))
	}
	return n, err
}

// elsewhere is a connection that leads to another address, as far as it says.
type elsewhere struct {
	net.Conn
	to   string
	sent *atomic.Int64
}

func (c elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.to), Port: 1} }

func (c elsewhere) Write(b []byte) (int, error) {
	c.sent.Add(int64(len(b)))
	return c.Conn.Write(b)
}
