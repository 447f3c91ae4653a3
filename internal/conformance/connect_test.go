package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// refused dials and expects an error soon, which says parts and not the
// password.
func (r *rig) refused(cfg thump.Config, parts ...string) {
	r.Helper()
	_ = r.refusal(cfg, parts...)
}

// refusal is refused, for who wants to know more of the error.
func (r *rig) refusal(cfg thump.Config, parts ...string) error {
	r.Helper()
	start := time.Now()
	client, err := thump.Dial(r.Context(), cfg)
	if err == nil {
		_ = client.Close(r.Context())
		r.Errorf("connected to %v, expected an error that says %q", cfg.URLs, parts)
		return errors.New("none")
	}
	if took := time.Since(start); took > 15*time.Second {
		r.Errorf("refused after %v", took)
	}
	r.says(err, parts...)
	for _, raw := range cfg.URLs {
		if u, parseErr := url.Parse(raw); parseErr == nil && u.User != nil {
			if password, set := u.User.Password(); set && strings.Contains(err.Error(), password) {
				r.Errorf("the error shows the password: %v", err)
			}
		}
	}
	return err
}

func urls(list ...string) thump.Config { return thump.Config{URLs: list} }

func TestRefusedLogin(t *testing.T) {
	eachRig(t, func(r *rig) {
		u, err := url.Parse(r.broker.URL)
		r.noError(err)
		err = r.refusal(urls(r.as(u.User.Username(), "not-the-password")), "ACCESS_REFUSED", u.Host, u.User.Username())
		r.brokerError(err, 403)
		err = r.refusal(urls(r.as(unique("nobody"), "secret-of-nobody")), "ACCESS_REFUSED")
		r.brokerError(err, 403)
		err = r.refusal(urls(strings.TrimSuffix(r.broker.URL, "/")+"/no-such-vhost"), "no-such-vhost")
		r.brokerError(err, 530)
		err = r.refusal(urls(r.user(unique("stranger"), "secret-of-the-stranger", "")), "vhost")
		r.brokerError(err, 530)
		if !r.rabbitMQ3() { // since 4.1 the smallest frame is larger
			return
		}
		client := r.dial(urls(r.broker.URL + "?frame_max=4096"))
		r.sizesSurvive(client, 0, 4096-8, 4096-8+1, 100_000)
	})
}

func TestNoPermission(t *testing.T) {
	eachRig(t, func(r *rig) {
		queue := r.queue()
		client := r.dial(urls(r.user(unique("guest"), "secret", "^$")))
		ctx := r.Context()
		_, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: unique("queue")})
		r.brokerError(err, 403)
		_, err = client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue(queue)})
		r.brokerError(err, 403)
		r.says(err, queue)
		_, err = client.PurgeQueue(ctx, queue)
		r.brokerError(err, 403)
		p, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Exchange("amq.direct", queue)})
		r.noError(err) // the broker looks at the first message
		r.publish(p, numbered(3)...)
		err = p.Flush(ctx)
		r.brokerError(err, 403)
		r.says(err, "amq.direct", "3 unknown")
	})
}

func TestNothingListens(t *testing.T) {
	eachRig(t, func(r *rig) {
		dead := deadAddress(r)
		r.refused(urls("amqp://guest:secret1234@"+dead+"/"), dead, "refused")
		r.refused(urls("amqps://guest:secret1234@"+dead+"/"), dead, "refused")
		// The first one that answers is taken.
		client := r.dial(urls("amqp://guest:secret1234@"+dead+"/", r.broker.URL, "amqp://"+dead))
		if client.Server().Version != r.broker.Version {
			r.Errorf("connected to %+v", client.Server())
		}
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Queue(r.queue())})
		r.noError(err)
		r.noError(p.Close(r.Context()))
		// Where none does, the error speaks of each.
		u, _ := url.Parse(r.broker.URL)
		err = r.refusal(urls("amqp://guest:secret1234@"+dead+"/", r.as(u.User.Username(), "not-the-password")), dead, "refused", u.Host, "ACCESS_REFUSED")
		r.brokerError(err, 403)
		r.refused(urls("amqp://guest:secret1234@host.invalid/"), "host.invalid")
	})
}

// deadAddress is one where nothing listens.
func deadAddress(r *rig) string {
	r.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	r.noError(err)
	r.noError(listener.Close())
	return listener.Addr().String()
}

// TestNotAMQP connects to what is no broker.
func TestNotAMQP(t *testing.T) {
	r := &rig{T: t}
	for _, greeting := range []string{"HTTP/1.1 400 Bad Request\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "220 ready\r\n"} {
		r.refused(urls("amqp://guest:secret1234@"+r.listener(greeting, true)+"/"), "not an AMQP server", strings.Fields(greeting)[0])
	}
	r.refused(urls("amqp://guest:secret1234@"+r.listener("AMQP\x00\x01\x00\x00", true)+"/"), "does not speak AMQP 0-9-1", "00 01 00 00")
	r.refused(urls("amqp://guest:secret1234@"+r.listener("", true)+"/"), "closed the connection")

	// Something that takes connections and says nothing.
	silent := r.listener("", false)
	cfg := urls("amqp://guest:secret1234@" + silent + "/")
	cfg.DialTimeout = 300 * time.Millisecond
	start := time.Now()
	r.refused(cfg, silent, "greeting", "deadline")
	r.refused(urls("amqp://guest:secret1234@"+silent+"/?connection_timeout=300"), "deadline")
	r.refused(urls("amqps://guest:secret1234@"+silent+"/?connection_timeout=300"), "TLS", "deadline")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("three timeouts of 300 ms took %v", took)
	}
	ctx, cancel := context.WithCancel(r.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if _, err := thump.Dial(ctx, urls("amqp://"+silent)); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a cancelled context: %v", err)
	}
}

// listener is the address of a server that greets with those bytes, and then
// hangs up after what the client has sent, or does nothing more.
func (r *rig) listener(greeting string, hangUp bool) string {
	r.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	r.noError(err)
	r.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.Cleanup(func() { conn.Close() })
			_, _ = conn.Read(make([]byte, 4096)) // so that hanging up is no reset
			_, _ = conn.Write([]byte(greeting))
			if hangUp {
				_ = conn.Close()
			}
		}
	}()
	return listener.Addr().String()
}

func TestTLS(t *testing.T) {
	eachRig(t, func(r *rig) {
		b := r.broker
		ca := "?cacertfile=" + url.QueryEscape(b.CAFile)
		host := func(raw, name string) string { return strings.Replace(raw, "127.0.0.1", name, 1) }
		external, err := url.Parse(b.TLSURL)
		r.noError(err)
		external.User = nil
		client := "&certfile=" + url.QueryEscape(b.ClientCertFile) + "&keyfile=" + url.QueryEscape(b.ClientKeyFile)
		for name, good := range map[string]thump.Config{
			"by address":         urls(b.TLSURL + ca),
			"by name":            urls(host(b.TLSURL, "localhost") + ca),
			"by another name":    urls(b.TLSURL + ca + "&server_name_indication=localhost"),
			"roots in Config":    {URLs: []string{b.TLSURL}, TLS: r.roots(b.CAFile)},
			"client certificate": urls(b.TLSURL + ca + client),
			"EXTERNAL":           urls(external.String() + ca + client + "&auth_mechanism=external"),
		} {
			c, err := thump.Dial(r.Context(), good)
			if err != nil {
				r.Errorf("%s: %v", name, err)
				continue
			}
			r.sizesSurvive(c, 0, 100, 65536, 1<<20)
			r.noError(c.Close(r.Context()))
		}

		other, err := brokertest.NewAuthority(r.TempDir())
		r.noError(err)
		r.refused(urls(b.TLSURL), "TLS", "authority")
		r.refused(urls(b.TLSURL+"?cacertfile="+url.QueryEscape(other.CAFile)), "TLS", "authority")
		r.refused(thump.Config{URLs: []string{b.TLSURL}, TLS: r.roots(other.CAFile)}, "TLS", "authority")
		r.refused(urls(b.TLSURL+ca+"&server_name_indication=wrong.example"), "TLS", "wrong.example")
		r.refused(urls(b.TLSURL+ca+"&verify=verify_none"), "always verified")
		r.refused(urls(b.TLSURL+"?cacertfile=/missing.pem"), "cacertfile", "/missing.pem")
		r.refused(urls(b.TLSURL+"?cacertfile="+url.QueryEscape(b.ClientKeyFile)), "cacertfile", "no certificate")
		strangers := "&certfile=" + url.QueryEscape(other.ClientCertFile) + "&keyfile=" + url.QueryEscape(other.ClientKeyFile)
		r.refused(urls(b.TLSURL+ca+strangers), "tls:") // the broker's word: unknown authority
		loose := "&certfile=" + url.QueryEscape(b.ClientCertFile) + "&keyfile=" + url.QueryEscape(r.looseKey())
		r.refused(urls(b.TLSURL+ca+loose), "keyfile", "mode 0644", "chmod 600")
		r.refused(urls(b.TLSURL+ca+"&server_name_indication=disable"), "can't be disabled")
		// Without the plugin's certificate there is nobody to log in as.
		r.refused(urls(external.String() + ca + "&auth_mechanism=external"))

		r.refused(urls(strings.Replace(b.URL, "amqp:", "amqps:", 1)+ca), "does not speak TLS")
		r.refused(urls(strings.Replace(b.TLSURL, "amqps:", "amqp:", 1)), "TLS port")
	})
}

// looseKey returns a copy of the client's key that others may read.
func (r *rig) looseKey() string {
	r.Helper()
	key, err := os.ReadFile(r.broker.ClientKeyFile)
	r.noError(err)
	loose := filepath.Join(r.TempDir(), "key.pem")
	r.noError(os.WriteFile(loose, key, 0o600))
	r.noError(os.Chmod(loose, 0o644)) // whatever the umask says
	return loose
}

// roots trusts the authority in file.
func (r *rig) roots(file string) *tls.Config {
	r.Helper()
	pem, err := os.ReadFile(file)
	r.noError(err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		r.Fatalf("no certificate in %s", file)
	}
	return &tls.Config{RootCAs: pool}
}

// TestLoginFrameTooLarge: RabbitMQ hangs up on a login that is larger than it takes,
// and does not say why. The error does, and does not show the secret.
func TestLoginFrameTooLarge(t *testing.T) {
	t.Parallel()
	eachRig(t, func(r *rig) {
		long := strings.Repeat("secret", 2000)
		u, err := url.Parse(r.broker.URL)
		r.noError(err)
		limit := "at most 4096"
		if r.atLeast("4.1") {
			limit = "at most 8192"
		}
		r.refused(urls(r.as(u.User.Username(), long)), "logging in", limit, "initial_frame_max", "12000 bytes")
		r.refused(thump.Config{URLs: []string{r.broker.URL}, Name: long}, "logging in", limit, "name 12000")
		r.refused(thump.Config{URLs: []string{r.broker.URL + "?connection_timeout=2500"}, Name: long}, "deadline", limit, "name 12000")
		if r.atLeast("4.1") {
			r.refused(urls(r.streamAs(u.User.Username(), long)), "logging in", "at most 8192", "12000 bytes")
			r.refused(thump.Config{URLs: []string{r.broker.StreamURL}, Name: long}, "at most 8192", "name 12000")
		}
	})
}
