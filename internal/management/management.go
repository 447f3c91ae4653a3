// Package management asks RabbitMQ's management API what AMQP has no question for: which
// queues there are, what they are, and what leads to them. It changes nothing.
package management

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/thumpmq/thump/internal/printable"
)

// answerMax is how many bytes an answer may have. A queue takes some 2 kB.
const answerMax = 64 << 20

// pagesMax is how many answers a list may have, of 500 queues or exchanges each, and listMax how many bytes
// all of them together.
const (
	pagesMax = 2000
	listMax  = 512 << 20
)

// Config is where the API is, and who asks.
type Config struct {
	URL            string // http or https, with or without a path; of a user in it nothing is used
	User, Password string
	CACertFile     string // PEM; replaces the system's roots; "" for those
	// Dial connects, where something must be seen to before; nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client asks. It may be used by several goroutines at once; it needs no Close.
type Client struct {
	base           string // ends with "/api/", and holds no password
	user, password string
	http           *http.Client
}

// ErrAbsent is in the error of a call that found nothing that is the management API.
var ErrAbsent = errors.New("the management API is not there")

// ErrNotFound is in the error of a call for what does not exist.
var ErrNotFound = errors.New("does not exist")

// New makes a client. It connects when it is asked something. No error repeats the URL's
// password.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the management API's URL must be like http://host:15672 or https://host:15671")
	}
	roots, err := readRoots(cfg.CACertFile)
	if err != nil {
		return nil, err
	}
	u.User = nil
	return &Client{
		base: strings.TrimSuffix(u.String(), "/") + "/api/", user: cfg.User, password: cfg.Password,
		http: &http.Client{
			// The password goes to the host that was named, and to no other: there is no
			// proxy, and no redirection is followed.
			Transport:     &http.Transport{DialContext: cfg.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // which stands for the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return roots, nil
}

// Queue is a queue or stream, as the API describes it. The numbers are some seconds old,
// and nil where RabbitMQ does not know them yet.
type Queue struct {
	Name       string    `json:"name"`
	Kind       string    `json:"type"`
	Durable    bool      `json:"durable"`
	AutoDelete bool      `json:"auto_delete"`
	Exclusive  bool      `json:"exclusive"`
	Arguments  Arguments `json:"arguments"`
	Policy     string    `json:"policy"`
	State      string    `json:"state"`
	Node       string    `json:"node"`   // of a classic queue
	Leader     string    `json:"leader"` // of a quorum queue or a stream

	Ready        *int64 `json:"messages_ready"`
	Unacked      *int64 `json:"messages_unacknowledged"`
	Messages     *int64 `json:"messages"`
	MessageBytes *int64 `json:"message_bytes"`
	Consumers    *int64 `json:"consumers"`
}

// Binding leads from an exchange to a queue. The default exchange is "".
type Binding struct {
	Source     string    `json:"source"`
	RoutingKey string    `json:"routing_key"`
	Arguments  Arguments `json:"arguments"`
}

// Exchange is an exchange, as the API describes it. The default one has no name.
type Exchange struct {
	Name       string    `json:"name"`
	Kind       string    `json:"type"`
	Durable    bool      `json:"durable"`
	AutoDelete bool      `json:"auto_delete"`
	Internal   bool      `json:"internal"`
	Arguments  Arguments `json:"arguments"`
	Policy     string    `json:"policy"`
}

// Route leads from an exchange to a queue or, as To says, another exchange.
type Route struct {
	Destination string    `json:"destination"`
	To          string    `json:"destination_type"` // "queue" or "exchange"
	RoutingKey  string    `json:"routing_key"`
	Arguments   Arguments `json:"arguments"`
}

// Arguments are those of a queue, an exchange or a binding. RabbitMQ writes none of them as a list.
type Arguments map[string]any

// UnmarshalJSON takes an object, and anything else as none.
func (a *Arguments) UnmarshalJSON(text []byte) error {
	*a = nil
	if !strings.HasPrefix(string(text), "{") {
		return nil
	}
	return json.Unmarshal(text, (*map[string]any)(a))
}

// Queues lists the queues and streams of a vhost whose names have a part in them, by name.
func (c *Client) Queues(ctx context.Context, vhost, part string) ([]Queue, error) {
	return list[Queue](ctx, c, "queues", vhost, part)
}

// Exchanges lists the exchanges of a vhost whose names have a part in them, by name. The default
// one is "".
func (c *Client) Exchanges(ctx context.Context, vhost, part string) ([]Exchange, error) {
	return list[Exchange](ctx, c, "exchanges", vhost, part)
}

// list reads a list that comes in pages.
func list[T any](ctx context.Context, c *Client, what, vhost, part string) ([]T, error) {
	var all []T
	size := 0
	for page, pages := 1, 1; page <= pages; page++ {
		if page > pagesMax || size > listMax {
			return nil, fmt.Errorf("listing the %s of vhost %q: there are more than %d, or more than %d bytes of them: ask for a part of the name", what, vhost, len(all), size)
		}
		var answer page500[T]
		n, err := c.get(ctx, &answer, fmt.Sprintf("%s/%s?page=%d&page_size=500&sort=name&name=%s", what, url.PathEscape(vhost), page, url.QueryEscape(part)))
		if err != nil {
			return nil, fmt.Errorf("listing the %s of vhost %q: %w", what, vhost, err)
		}
		all, pages, size = append(all, answer.Items...), answer.Pages, size+n
		if len(answer.Items) == 0 {
			break
		}
	}
	return all, nil
}

// page500 is an answer with some of many.
type page500[T any] struct {
	Pages int `json:"page_count"`
	Items []T `json:"items"`
}

// Named lists up to 500 queues and streams of a vhost whose names have a part in them: their
// names and kinds, which RabbitMQ knows at once.
func (c *Client) Named(ctx context.Context, vhost, part string) ([]Queue, error) {
	var answer page500[Queue]
	question := fmt.Sprintf("queues/%s?page=1&page_size=500&sort=name&disable_stats=true&columns=name,type&name=%s", url.PathEscape(vhost), url.QueryEscape(part))
	if _, err := c.get(ctx, &answer, question); err != nil {
		return nil, fmt.Errorf("listing the queues of vhost %q: %w", vhost, err)
	}
	return answer.Items, nil
}

// Queue describes one. ErrNotFound is in the error if it does not exist.
func (c *Client) Queue(ctx context.Context, vhost, name string) (Queue, error) {
	var q Queue
	if _, err := c.get(ctx, &q, "queues/"+url.PathEscape(vhost)+"/"+url.PathEscape(name)); err != nil {
		return q, fmt.Errorf("describing queue %q: %w", name, err)
	}
	return q, nil
}

// Bindings lists what leads to a queue.
func (c *Client) Bindings(ctx context.Context, vhost, queue string) ([]Binding, error) {
	var list []Binding
	if _, err := c.get(ctx, &list, "queues/"+url.PathEscape(vhost)+"/"+url.PathEscape(queue)+"/bindings"); err != nil {
		return nil, fmt.Errorf("listing the bindings of queue %q: %w", queue, err)
	}
	return list, nil
}

// Exchange describes one. ErrNotFound is in the error if it does not exist.
func (c *Client) Exchange(ctx context.Context, vhost, name string) (Exchange, error) {
	var e Exchange
	if _, err := c.get(ctx, &e, "exchanges/"+url.PathEscape(vhost)+"/"+url.PathEscape(name)); err != nil {
		return e, fmt.Errorf("describing exchange %q: %w", name, err)
	}
	return e, nil
}

// Routes lists what an exchange leads to.
func (c *Client) Routes(ctx context.Context, vhost, exchange string) ([]Route, error) {
	var all []Route
	if _, err := c.get(ctx, &all, "exchanges/"+url.PathEscape(vhost)+"/"+url.PathEscape(exchange)+"/bindings/source"); err != nil {
		return nil, fmt.Errorf("listing the bindings of exchange %q: %w", exchange, err)
	}
	return all, nil
}

// Where the API fails, it is asked again so often, after a pause: RabbitMQ answers 500 where a
// queue goes away while it describes it, for one.
const (
	triesMost  = 5
	triesPause = 200 * time.Millisecond
)

// get reads the answer to a question into answer, and returns how many bytes it had.
func (c *Client) get(ctx context.Context, answer any, question string) (size int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for try := 1; ; try++ {
		if size, err = c.try(ctx, answer, question); !errors.Is(err, errFailed) || try == triesMost {
			return size, err
		}
		select {
		case <-time.After(triesPause):
		case <-ctx.Done():
			return 0, err
		}
	}
}

// errFailed is in the error of a question that the API has failed to answer.
var errFailed = errors.New("the management API has failed")

// try asks once.
func (c *Client) try(ctx context.Context, answer any, question string) (size int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+question, nil)
	if err != nil {
		return 0, err
	}
	request.SetBasicAuth(c.user, c.password)
	response, err := c.http.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" {
			return 0, fmt.Errorf("%w: %w", ErrAbsent, failed)
		}
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // which does not repeat the question
		}
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerMax+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return 0, c.refused(response, body)
	case err != nil:
		return 0, fmt.Errorf("reading the answer of %s: %w", c.base, err)
	case len(body) > answerMax:
		return 0, fmt.Errorf("the answer of %s has more than %d bytes", c.base, answerMax)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return 0, fmt.Errorf("%w: %s answers with something else: %s", ErrAbsent, c.base, printable.Text(err.Error()))
	}
	return len(body), nil
}

// refused is the error for an answer that is none.
func (c *Client) refused(response *http.Response, body []byte) error {
	var answer struct {
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}
	understood := json.Unmarshal(body, &answer) == nil
	switch {
	case response.StatusCode == http.StatusUnauthorized && understood:
		return fmt.Errorf("the user %q may not use the management API at %s: it needs the right password, the tag \"management\" or another with more rights, and a permission for the vhost", c.user, c.base)
	case response.StatusCode == http.StatusNotFound && understood:
		return ErrNotFound
	case response.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%w: %s answers %s: %s", errFailed, c.base, printable.Text(response.Status), printable.Text(answer.Reason))
	case !understood:
		return fmt.Errorf("%w: %s answers %s", ErrAbsent, c.base, printable.Text(response.Status))
	}
	return fmt.Errorf("%s answers %s: %s", c.base, printable.Text(response.Status), printable.Text(answer.Reason))
}
