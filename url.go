package thump

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Endpoint is a parsed URL: where to connect, as whom, and what the URL's
// query sets. Printing it never shows the password.
type Endpoint struct {
	Stream   bool // rabbitmq-stream, or rabbitmq-stream+tls
	TLS      bool // amqps, or rabbitmq-stream+tls
	Host     string
	Port     string
	User     string
	Password string
	Vhost    string

	Heartbeat   time.Duration // 0: not set
	DialTimeout time.Duration // 0: not set
	FrameMax    uint32        // 0: not set
	ChannelMax  uint16        // 0: not set
	External    bool          // auth_mechanism=external: the client certificate says who

	// LoadBalancer is load_balancer=true, for streams: the address leads to one
	// node or another, and the ones that the nodes advertise lead nowhere.
	LoadBalancer bool

	CACertFile string // PEM; replaces the system's roots
	CertFile   string // PEM; with KeyFile, the client's certificate
	KeyFile    string
	ServerName string // to verify, instead of Host
}

// ParseURL parses
//
//	amqp://user:password@host:port/vhost?parameter=value
//
// with scheme amqp or amqps, or, for the stream protocol, rabbitmq-stream or
// rabbitmq-stream+tls. Everything but the scheme and host may be left out: user
// and password are guest, the port is 5672 or 5671, for streams 5552 or 5551, the
// vhost is "/" ("/%2F" spells it out; "%2F" in a name is a slash). The parameters are those
// of RabbitMQ's URI specification: heartbeat (seconds), connection_timeout
// (milliseconds), channel_max, frame_max (bytes), auth_mechanism (plain or
// external), cacertfile, certfile, keyfile, server_name_indication; and for
// streams load_balancer (true: connect to no address but this one). Any other
// is an error; so is verify=verify_none: a certificate is always verified.
// Errors never contain the password.
func ParseURL(rawURL string) (Endpoint, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The text of a url.Error repeats the whole URL.
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err
		}
		if strings.Contains(rawURL, "@") {
			err = errors.New("malformed (a password must be percent-encoded)")
		}
		return Endpoint{}, fmt.Errorf("thump: URL: %w", err)
	}
	if strings.Contains(u.EscapedPath(), "@") {
		// More likely a user and password cut off by a slash than a vhost, and
		// then everything that could be printed is the password.
		return Endpoint{}, errors.New("thump: URL: an @ behind the first slash: in a password write / as %2F, in a vhost @ as %40")
	}
	e := Endpoint{Host: u.Hostname(), Port: u.Port(), User: "guest", Password: "guest", Vhost: "/"}
	switch u.Scheme {
	case "amqp":
	case "amqps":
		e.TLS = true
	case "rabbitmq-stream":
		e.Stream = true
	case "rabbitmq-stream+tls":
		e.Stream, e.TLS = true, true
	case "":
		return Endpoint{}, errors.New("thump: URL: no scheme: it begins with amqp://, amqps://, rabbitmq-stream:// or rabbitmq-stream+tls://")
	default:
		return Endpoint{}, fmt.Errorf("thump: URL: unknown scheme %q: it is amqp, amqps, rabbitmq-stream or rabbitmq-stream+tls", u.Scheme)
	}
	if err := e.setPlace(u); err != nil {
		return Endpoint{}, fmt.Errorf("thump: URL %s: %w", e, err)
	}
	if err := e.setParameters(u); err != nil {
		return Endpoint{}, fmt.Errorf("thump: URL %s: %w", e, err)
	}
	return e, nil
}

// setPlace takes host, port, user and vhost.
func (e *Endpoint) setPlace(u *url.URL) error {
	if u.User != nil {
		e.User = u.User.Username()
		e.Password, _ = u.User.Password()
	}
	if e.Host == "" {
		return errors.New("no host")
	}
	if strings.Contains(e.Host, ":") && !strings.HasPrefix(u.Host, "[") {
		return errors.New("an IPv6 address stands in brackets: [::1]")
	}
	if e.Port == "" {
		e.Port = e.defaultPort()
	}
	if port, err := strconv.ParseUint(e.Port, 10, 16); err != nil || port == 0 {
		return fmt.Errorf("port %q is not between 1 and 65535", e.Port)
	}
	if path := strings.TrimPrefix(u.EscapedPath(), "/"); path != "" {
		if strings.Contains(path, "/") {
			return errors.New("the vhost contains a slash: write it as %2F")
		}
		e.Vhost = strings.TrimPrefix(u.Path, "/")
	}
	if u.Fragment != "" {
		return errors.New("a # must be written as %23")
	}
	return nil
}

// defaultPort is the port of a URL that names none.
func (e *Endpoint) defaultPort() string {
	switch {
	case e.Stream && e.TLS:
		return "5551"
	case e.Stream:
		return "5552"
	case e.TLS:
		return "5671"
	default:
		return "5672"
	}
}

// other is where the same host serves the other protocol, unless somebody moved
// it.
func (e Endpoint) other() Endpoint {
	e.Stream, e.LoadBalancer, e.FrameMax, e.ChannelMax = !e.Stream, false, 0, 0
	e.Port = e.defaultPort()
	return e
}

// setParameters takes the query.
func (e *Endpoint) setParameters(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("the query is malformed")
	}
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if len(query[name]) > 1 {
			return fmt.Errorf("parameter %s is given twice", name)
		}
		if err := e.setParameter(name, query.Get(name)); err != nil {
			return err
		}
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		return errors.New("certfile and keyfile go together")
	}
	if !e.TLS && (e.CACertFile+e.CertFile+e.ServerName) != "" {
		return errors.New("certificates are for amqps and rabbitmq-stream+tls")
	}
	return nil
}

func (e *Endpoint) setParameter(name, value string) error {
	number := func(bits int, least uint64) (uint64, error) {
		n, err := strconv.ParseUint(value, 10, bits)
		if err != nil || n < least {
			return 0, fmt.Errorf("parameter %s: %q is not a whole number from %d to %d", name, value, least, uint64(1)<<bits-1)
		}
		return n, nil
	}
	var n uint64
	var err error
	switch name {
	case "heartbeat":
		n, err = number(16, 1)
		e.Heartbeat = time.Duration(n) * time.Second
	case "connection_timeout":
		n, err = number(31, 1)
		e.DialTimeout = time.Duration(n) * time.Millisecond
	case "frame_max":
		n, err = number(32, frameMaxLeast)
		e.FrameMax = uint32(n)
	case "channel_max":
		n, err = number(16, 1)
		e.ChannelMax = uint16(n)
	case "auth_mechanism":
		switch strings.ToLower(value) {
		case "plain":
		case "external":
			e.External = true
		default:
			return fmt.Errorf("parameter auth_mechanism: %q is neither plain nor external", value)
		}
	case "load_balancer":
		if !e.Stream || value != "true" && value != "false" {
			return errors.New("parameter load_balancer is for streams, and true or false")
		}
		e.LoadBalancer = value == "true"
	case "cacertfile":
		e.CACertFile = value
	case "certfile":
		e.CertFile = value
	case "keyfile":
		e.KeyFile = value
	case "server_name_indication":
		e.ServerName = value
	case "verify":
		if value != "verify_peer" {
			return errors.New("parameter verify: a certificate is always verified (name your own authority with cacertfile)")
		}
	default:
		return fmt.Errorf("unknown parameter %q", name)
	}
	return err
}

// String returns the URL with "***" for the password and without its query.
func (e Endpoint) String() string {
	scheme := "amqp"
	switch {
	case e.Stream && e.TLS:
		scheme = "rabbitmq-stream+tls"
	case e.Stream:
		scheme = "rabbitmq-stream"
	case e.TLS:
		scheme = "amqps"
	}
	vhost := ""
	if e.Vhost != "/" {
		vhost = url.PathEscape(e.Vhost)
	}
	return fmt.Sprintf("%s://%s:***@%s/%s", scheme, url.PathEscape(e.User), e.address(), vhost)
}

// GoString is String, so that %#v does not show the password either.
func (e Endpoint) GoString() string { return e.String() }

// loopback reports whether the host is this machine, as far as its name says.
func (e Endpoint) loopback() bool {
	ip, err := netip.ParseAddr(e.Host)
	return e.Host == "localhost" || err == nil && ip.IsLoopback()
}

func (e Endpoint) address() string { return net.JoinHostPort(e.Host, e.Port) }

// tlsConfig makes the TLS settings for a connection, from those of the client
// and those of the URL; nil for a plain connection.
func (e Endpoint) tlsConfig(base *tls.Config) (*tls.Config, error) {
	if !e.TLS {
		return nil, nil
	}
	cfg := &tls.Config{}
	if base != nil {
		cfg = base.Clone()
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	if e.ServerName != "" {
		cfg.ServerName = e.ServerName
	}
	if cfg.ServerName == "" {
		cfg.ServerName = e.Host
	}
	if e.CACertFile != "" {
		pem, err := os.ReadFile(e.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("cacertfile: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cacertfile: no certificate in %s", e.CACertFile)
		}
	}
	if e.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(e.CertFile, e.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certfile: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
