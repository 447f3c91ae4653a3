package thump

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/secretfile"
)

// What the size of a frame can be set to, in bytes.
const (
	frameMaxLeast = amqpproto.FrameMinSize
	frameMaxMost  = 16 << 20 // bounds the memory of a connection, which holds two frames
)

// Endpoint is a parsed URL: where to connect, over which protocol, as whom, and
// what the URL's query sets. Printing it never shows the password.
type Endpoint struct {
	Protocol Protocol
	TLS      bool // amqps, or rabbitmq-stream+tls
	Host     string
	Port     string
	User     string
	Password string
	Vhost    string

	Heartbeat   time.Duration // 0: not set
	DialTimeout time.Duration // 0: not set
	FrameMax    uint32        // in bytes; 0: not set
	ChannelMax  uint16        // 0: not set
	External    bool          // auth_mechanism=external: the client certificate names the user

	// LoadBalancer is load_balancer=true, for streams: the address leads to one
	// node or another, and the addresses that the nodes advertise lead nowhere.
	LoadBalancer bool

	CACertFile string // PEM; replaces the system's roots
	CertFile   string // PEM; with KeyFile, the client's certificate
	KeyFile    string // that nobody else may read, as ssh wants it
	ServerName string // to verify, instead of Host

	// guessed says that no URL names this address: it is the host of a URL for
	// another protocol, at this protocol's usual port.
	guessed bool
	// mustStay says that no URL names this address: the broker does, and the password
	// must not leave this machine on the way there.
	mustStay bool
	// ip is the address of Host that is to be dialled, where Host is a name that was
	// looked up.
	ip string
}

// scheme is how a URL begins, what that says, and the port that RabbitMQ uses
// unless it is configured otherwise.
type scheme struct {
	name     string
	protocol Protocol
	tls      bool
	port     string
}

// schemes returns those of RabbitMQ's URI specification and of its stream clients.
func schemes() [4]scheme {
	return [...]scheme{
		{"amqp", AMQP091, false, "5672"},
		{"amqps", AMQP091, true, "5671"},
		{"rabbitmq-stream", Streams, false, "5552"},
		{"rabbitmq-stream+tls", Streams, true, "5551"},
	}
}

// scheme returns the scheme of the endpoint's URL.
func (e *Endpoint) scheme() scheme {
	for _, s := range schemes() {
		if s.protocol == e.Protocol && s.tls == e.TLS {
			return s
		}
	}
	return scheme{name: e.Protocol.String()} // an Endpoint that no URL gave
}

// setScheme sets protocol, TLS, and the port for a URL that names none.
func (e *Endpoint) setScheme(name string) error {
	for _, s := range schemes() {
		if s.name == name {
			e.Protocol, e.TLS, e.Port = s.protocol, s.tls, s.port
			return nil
		}
	}
	if name == "" {
		return errors.New("no scheme: it begins with amqp://, amqps://, rabbitmq-stream:// or rabbitmq-stream+tls://")
	}
	return fmt.Errorf("unknown scheme %q: it is amqp, amqps, rabbitmq-stream or rabbitmq-stream+tls", name)
}

// over returns an endpoint for protocol p by a guess: the same host, at the
// protocol's usual port.
func (e Endpoint) over(p Protocol) Endpoint {
	e.Protocol, e.LoadBalancer, e.FrameMax, e.ChannelMax = p, false, 0, 0
	e.Port, e.guessed = e.scheme().port, true
	return e
}

// parseURLs returns the endpoints of each protocol, in the order of the URLs, and
// every fault in them. A protocol that no URL is for gets the hosts of the others.
func parseURLs(urls []string) (endpoints map[Protocol][]Endpoint, faults []error) {
	endpoints = make(map[Protocol][]Endpoint)
	var all []Endpoint
	for _, rawURL := range urls {
		e, err := parseURL(rawURL)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		endpoints[e.Protocol] = append(endpoints[e.Protocol], e)
		all = append(all, e)
	}
	for _, p := range [...]Protocol{AMQP091, Streams} {
		if endpoints[p] != nil {
			continue
		}
		for _, e := range all {
			endpoints[p] = append(endpoints[p], e.over(p))
		}
	}
	return endpoints, faults
}

// ParseURL parses
//
//	amqp://user:password@host:port/vhost?parameter=value
//
// with scheme amqp or amqps, or, for the stream protocol, rabbitmq-stream or
// rabbitmq-stream+tls. Everything but the scheme and host may be left out: user
// and password are guest, the port is 5672 or 5671, for streams 5552 or 5551, the
// vhost is "/" ("/%2F" spells it out; "%2F" in a name is a slash). The parameters
// are those of RabbitMQ's URI specification: heartbeat (seconds),
// connection_timeout (milliseconds), channel_max, frame_max (bytes),
// auth_mechanism (plain or external), cacertfile, certfile, keyfile,
// server_name_indication; and for streams load_balancer (true: connect to no
// address but this one). Any other is an error; so is verify=verify_none: a
// certificate is always verified. Errors never contain the password.
//
// Without TLS the password goes in clear, to the URL's host. For streams the broker
// names the nodes to connect to. Where every URL without TLS leads to this machine,
// the password leaves it for none of them: to connect to such a node is an error.
// load_balancer=true, that node's own URL, or TLS are ways to reach it.
func ParseURL(rawURL string) (Endpoint, error) {
	e, err := parseURL(rawURL)
	return e, withPrefix(mistake(err))
}

func parseURL(rawURL string) (Endpoint, error) {
	e, place, err := splitURL(rawURL)
	if err != nil {
		return Endpoint{}, fmt.Errorf("URL: %w", err)
	}
	if err := e.setPlace(place); err != nil {
		if authority := strings.TrimSuffix(rawURL, place); strings.HasPrefix(place, "?") && strings.Count(authority, ":") > 1 && !strings.Contains(authority, "@") {
			// user:12?word, say: a password that begins like a port, and no host.
			return Endpoint{}, errors.New("URL: malformed: what follows the ? is no parameter (is the host missing, after user:password@? and a ? in a password is written %3F)")
		}
		return Endpoint{}, fmt.Errorf("URL %s: %w", e, err)
	}
	return e, nil
}

// splitURL reads a URL up to its port, and returns the rest: vhost and parameters.
// It does so itself, and not with net/url, whose errors repeat what they are about,
// which may be the password. No error here repeats anything that could be a part of
// one.
func splitURL(rawURL string) (e Endpoint, place string, err error) {
	if err := checkCharacters(rawURL); err != nil {
		return e, "", err
	}
	e = Endpoint{User: "guest", Password: "guest", Vhost: "/"}
	name, rest, found := strings.Cut(rawURL, ":")
	authority, slashes := strings.CutPrefix(rest, "//")
	if !found || !slashes && rest != "" { // "localhost", "localhost:5672"
		name = ""
	}
	if err := e.setScheme(strings.ToLower(name)); err != nil {
		return e, "", err
	}
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority, place = authority[:end], authority[end:]
	}
	switch {
	case strings.HasPrefix(place, "//") && strings.HasSuffix(authority, ":"):
		return e, "", errors.New("malformed: more than one URL: Config.URLs takes each by itself")
	case strings.Contains(place, "@"):
		// Most likely a slash in the password has cut user and password off, and
		// then whatever could be printed is the password.
		return e, "", errors.New("malformed: an @ after the first /, ? or #: in a password write these as %2F, %3F and %23, and in a vhost @ as %40")
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := e.setUser(authority[:at]); err != nil {
			return e, "", err
		}
		authority = authority[at+1:]
	}
	return e, place, e.setHost(authority)
}

// checkCharacters refuses what no URL contains, and what copying one brings along.
func checkCharacters(rawURL string) error {
	for i, r := range rawURL {
		what := ""
		switch {
		case r == '\n' || r == '\r':
			what = "a line break"
		case r == ' ' || r == '\t':
			what = "a blank"
		case r == utf8.RuneError:
			what = "a byte that is not UTF-8"
		case unicode.IsControl(r):
			what = "a control character"
		case !unicode.IsPrint(r):
			what = "a character that can't be seen"
		default:
			continue
		}
		switch {
		case i == 0:
			return fmt.Errorf("it begins with %s", what)
		case strings.TrimFunc(rawURL[i:], func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) == "":
			return fmt.Errorf("it ends with %s", what)
		default:
			return fmt.Errorf("malformed: %s in the middle (in a user, password, vhost or file name it is percent-encoded: %s)", what, percentEncoded(r))
		}
	}
	return nil
}

// percentEncoded is how a character is written in a URL.
func percentEncoded(r rune) string {
	if r == utf8.RuneError {
		return "%FF"
	}
	return url.PathEscape(string(r))
}

// setUser reads user:password.
func (e *Endpoint) setUser(userinfo string) error {
	if strings.ContainsAny(userinfo, `[]{}<>|\^`+"`\"") {
		return errors.New("malformed: a character in user or password that must be percent-encoded (letters, digits and -._~ need not be)")
	}
	user, password, _ := strings.Cut(userinfo, ":")
	var bad, worse error
	e.User, bad = url.PathUnescape(user)
	e.Password, worse = url.PathUnescape(password)
	if bad != nil || worse != nil {
		return errors.New("a % in user or password that no two hexadecimal digits follow: both are percent-encoded, and % itself is %25")
	}
	return nil
}

// setHost reads host:port.
func (e *Endpoint) setHost(hosts string) error {
	if strings.Contains(hosts, ",") {
		return errors.New("a list of hosts: a URL names one, and Config.URLs takes several URLs")
	}
	host, port := hosts, ""
	if address, found := strings.CutPrefix(hosts, "["); found {
		inside, after, found := strings.Cut(address, "]")
		if !found {
			return errors.New("malformed: a [ without its ]")
		}
		host, port = inside, after
		if port != "" && port[0] != ':' {
			return errors.New("malformed: after the ] of an address comes :port, or nothing")
		}
		if err := e.setAddress(host); err != nil {
			return err
		}
	} else {
		if colon := strings.LastIndexByte(hosts, ':'); colon >= 0 {
			host, port = hosts[:colon], hosts[colon:]
		}
		switch {
		case host == "":
			return errors.New("no host")
		case strings.Contains(host, ":"):
			return errors.New("an IPv6 address is written in brackets: [::1] (and a colon or slash in a password as %3A and %2F)")
		case strings.Contains(host, "%"):
			return errors.New("the host is percent-encoded: it is written as it is")
		case strings.ContainsAny(host, `]{}<>|\^`+"`\""):
			return errors.New("malformed: the host has a character that no host name has")
		}
		e.Host = host
	}
	if len(port) > 1 {
		e.Port = port[1:]
	}
	if n, err := strconv.ParseUint(e.Port, 10, 16); err != nil || n == 0 {
		return errors.New("malformed: the port is no number from 1 to 65535 (is the host missing, after user:password@?)")
	}
	return nil
}

// setAddress reads what is between brackets: an IPv6 address, perhaps with a zone,
// before which a % is written %25 (RFC 6874).
func (e *Endpoint) setAddress(address string) error {
	ip, zone, zoned := strings.Cut(address, "%")
	if zoned {
		encoded, found := strings.CutPrefix(zone, "25")
		name, err := url.PathUnescape(encoded)
		if !found || name == "" || err != nil {
			return errors.New("the zone of an IPv6 address is written after %25: [fe80::1%25eth0]")
		}
		zone = "%" + name
	}
	if parsed, err := netip.ParseAddr(ip + zone); err != nil || !parsed.Is6() {
		return errors.New("what is in brackets is no IPv6 address")
	}
	e.Host = ip + zone
	return nil
}

// setPlace reads vhost and parameters.
func (e *Endpoint) setPlace(place string) error {
	if strings.Contains(place, "#") {
		return errors.New("a # must be written as %23")
	}
	path, query, _ := strings.Cut(place, "?")
	if path = strings.TrimPrefix(path, "/"); path != "" {
		if strings.Contains(path, "/") {
			return errors.New("the vhost contains a slash: write it as %2F")
		}
		vhost, err := url.PathUnescape(path)
		if err != nil {
			return errors.New("a % in the vhost that no two hexadecimal digits follow: % itself is written %25")
		}
		e.Vhost = vhost
	}
	return e.setParameters(query)
}

// setParameters reads the query. A + in it is a plus, as in a path: only forms take
// it for a blank.
func (e *Endpoint) setParameters(query string) error {
	seen := make(map[string]bool)
	for parameter := range strings.SplitSeq(query, "&") {
		if parameter == "" {
			continue
		}
		name, value, _ := strings.Cut(parameter, "=")
		name, bad := url.PathUnescape(name)
		value, worse := url.PathUnescape(value)
		if bad != nil || worse != nil {
			return fmt.Errorf("parameter %q is malformed: a %% that no two hexadecimal digits follow (%% itself is written %%25)", name)
		}
		if seen[name] {
			return fmt.Errorf("parameter %s is given twice", name)
		}
		seen[name] = true
		if err := e.setParameter(name, value); err != nil {
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

// setParameter reads one parameter of the query.
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
		if e.Protocol != Streams || value != "true" && value != "false" {
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
		if value == "disable" { // no name, in RabbitMQ's URIs, and so none to verify
			return errors.New("parameter server_name_indication: it can't be disabled, because a certificate is always verified: give the name that it is for")
		}
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

// String returns the URL with "***" for the password and without its query. ParseURL
// reads it, and it leads to the same place.
func (e Endpoint) String() string {
	vhost := ""
	if e.Vhost != "/" {
		vhost = "/" + escapeAt(e.Vhost)
	}
	host := e.Host
	if ip, zone, zoned := strings.Cut(host, "%"); zoned {
		host = ip + "%25" + escapeAt(zone)
	}
	return fmt.Sprintf("%s://%s:***@%s%s", e.scheme().name, url.User(e.User), net.JoinHostPort(host, e.Port), vhost)
}

// escapeAt escapes a part of a URL after its host, where an @ would be taken for
// the end of a password.
func escapeAt(part string) string { return strings.ReplaceAll(url.PathEscape(part), "@", "%40") }

// GoString returns what String does, so that %#v does not show the password
// either.
func (e Endpoint) GoString() string { return e.String() }

// Loopback reports whether the host is this machine, as far as its name tells: localhost,
// or an address of the loopback interface.
func (e Endpoint) Loopback() bool {
	ip, err := netip.ParseAddr(e.Host)
	return strings.EqualFold(strings.TrimSuffix(e.Host, "."), "localhost") || err == nil && ip.IsLoopback()
}

// address returns host:port.
func (e Endpoint) address() string { return net.JoinHostPort(e.Host, e.Port) }

// dialled returns the host:port, or ip:port, that is dialled.
func (e Endpoint) dialled() string { return net.JoinHostPort(cmp.Or(e.ip, e.Host), e.Port) }

// place is String, with the address of Host that is meant.
func (e Endpoint) place() string {
	if e.ip == "" {
		return e.String()
	}
	return e.String() + " at " + e.ip
}

// tlsConfig returns the TLS settings for a connection, which are the client's
// (base, which may be nil) and the URL's; nil for a plain connection.
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
		certificate, err := os.ReadFile(e.CertFile)
		if err != nil {
			return nil, fmt.Errorf("certfile: %w", err)
		}
		key, err := secretfile.Read(e.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("keyfile: %w", err)
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("certfile and keyfile: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
