package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// waitUntilServing waits until the node answers on AMQP, on the stream protocol
// and on its management API, and returns RabbitMQ's version. It ends early when the server has.
func waitUntilServing(ctx context.Context, st state, serverDone <-chan struct{}) (string, error) {
	const pause = 25 * time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		version, err := probe(ctx, st)
		if err == nil {
			return version, nil
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-serverDone:
			return "", errors.New("broker: RabbitMQ ended while it was starting")
		case <-ctx.Done():
			return "", fmt.Errorf("broker: starting RabbitMQ: %w (%w)", context.Cause(ctx), err)
		}
	}
}

// Ready asks once whether the node serves: nil when it does.
func (n *Node) Ready(ctx context.Context) error {
	_, err := probe(ctx, n.state)
	return err
}

// probe asks the node's AMQP and stream listeners for a greeting, and then its
// management API who it is. The last tells our node from a stranger on a port
// that we believed free.
func probe(ctx context.Context, st state) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := greetAMQP(ctx, st.Ports.AMQP); err != nil {
		return "", err
	}
	if err := greetStream(ctx, st.Ports.Stream); err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, st.url("http", st.Ports.Management)+"api/overview", nil)
	if err != nil {
		return "", fmt.Errorf("broker: asking the management API: %w", err)
	}
	// Not http.DefaultClient: it would use the environment's proxy, and keep the
	// connection.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("broker: asking the management API: %w", withoutURL(err))
	}
	defer response.Body.Close()
	var overview struct {
		Node    string `json:"node"`
		Version string `json:"rabbitmq_version"`
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return "", fmt.Errorf("broker: asking the management API: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("broker: asking the management API: %s", response.Status)
	}
	if err := json.Unmarshal(body, &overview); err != nil {
		return "", fmt.Errorf("broker: asking the management API: %w", err)
	}
	if overview.Node != st.Name {
		return "", fmt.Errorf("broker: port %d is the management API of %q, not of %q",
			st.Ports.Management, overview.Node, st.Name)
	}
	return overview.Version, nil
}

// greetAMQP sends the AMQP protocol header and wants the method frame that a
// server answers with, Connection.Start.
func greetAMQP(ctx context.Context, port int) error {
	answer, err := greet(ctx, port, "AMQP\x00\x00\x09\x01", 1)
	if err == nil && answer[0] != 1 {
		err = fmt.Errorf("broker: port %d doesn't speak AMQP", port)
	}
	return err
}

// greetStream says what a stream client says first, its PeerProperties (none),
// and wants the server's (PROTOCOL.adoc PeerProperties): the listener of streams
// belongs to a plugin, which may be a moment behind.
func greetStream(ctx context.Context, port int) error {
	const (
		request = "\x00\x00\x00\x0c" + "\x00\x11\x00\x01" + "\x00\x00\x00\x01" + "\x00\x00\x00\x00"
		header  = "\x80\x11\x00\x01" + "\x00\x00\x00\x01" + "\x00\x01" // after the size; code 1 is OK
	)
	answer, err := greet(ctx, port, request, 4+len(header))
	if err == nil && string(answer[4:]) != header {
		err = fmt.Errorf("broker: port %d doesn't speak the stream protocol", port)
	}
	return err
}

// greet sends a greeting and returns the first n bytes of the answer.
func greet(ctx context.Context, port int, greeting string, n int) ([]byte, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("broker: greeting the node: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, fmt.Errorf("broker: greeting the node: %w", err)
		}
	}
	if _, err := conn.Write([]byte(greeting)); err != nil {
		return nil, fmt.Errorf("broker: greeting the node: %w", err)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, fmt.Errorf("broker: greeting the node: %w", err)
	}
	return answer, nil
}

// withoutURL takes the URL, and so the password, out of an HTTP client's error.
func withoutURL(err error) error {
	var withURL interface{ Unwrap() error }
	if errors.As(err, &withURL) && withURL.Unwrap() != nil {
		return withURL.Unwrap()
	}
	return err
}
