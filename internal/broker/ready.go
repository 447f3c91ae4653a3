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

// waitUntilServing waits until the node answers on AMQP, on the stream protocol and on
// its management API, and returns RabbitMQ's version. It returns early if the server
// ends, and with ErrStranger if another user has taken one of its ports.
func waitUntilServing(ctx context.Context, st state, serverDone <-chan struct{}) (string, error) {
	const pause = 25 * time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		version, err := probe(ctx, st)
		if err == nil || errors.Is(err, ErrStranger) {
			return version, err
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

// Ready returns nil if the node serves now, and otherwise what does not work yet: ErrPaused
// at once if it is paused.
func (n *Node) Ready(ctx context.Context) error {
	if n.Paused() {
		return ErrPaused
	}
	_, err := probe(ctx, n.state)
	return err
}

// probe greets the node's AMQP and stream listeners, and then asks its management API
// for the node's name. The name shows that this is our node, and not another one of the
// same user that has taken a port which we believed free. The password goes to no other
// user: see dial.
func probe(ctx context.Context, st state) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := greetAMQP(ctx, st); err != nil {
		return "", err
	}
	if err := greetStream(ctx, st); err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, st.url("http", st.Ports.Management)+"/api/overview", nil)
	if err != nil {
		return "", fmt.Errorf("broker: asking the management API: %w", err)
	}
	// http.DefaultClient would use the environment's proxy, and keep the connection.
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return st.dial(ctx, address)
		},
	}}
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

// greetAMQP sends the AMQP protocol header and expects the method frame with which a
// server answers, connection.start.
func greetAMQP(ctx context.Context, st state) error {
	answer, err := greet(ctx, st, st.Ports.AMQP, "AMQP\x00\x00\x09\x01", 1)
	if err == nil && answer[0] != 1 {
		err = fmt.Errorf("broker: port %d doesn't speak AMQP", st.Ports.AMQP)
	}
	return err
}

// greetStream sends a stream client's first command, PeerProperties without properties,
// and expects the server's answer (PROTOCOL.adoc, PeerProperties). The stream listener
// belongs to a plugin, which can start a moment later.
func greetStream(ctx context.Context, st state) error {
	const (
		request = "\x00\x00\x00\x0c" + "\x00\x11\x00\x01" + "\x00\x00\x00\x01" + "\x00\x00\x00\x00"
		header  = "\x80\x11\x00\x01" + "\x00\x00\x00\x01" + "\x00\x01" // after the size; code 1 is OK
	)
	answer, err := greet(ctx, st, st.Ports.Stream, request, 4+len(header))
	if err == nil && string(answer[4:]) != header {
		err = fmt.Errorf("broker: port %d doesn't speak the stream protocol", st.Ports.Stream)
	}
	return err
}

// greet sends a greeting to a port of the node and returns the first n bytes of the answer.
func greet(ctx context.Context, st state, port int, greeting string, n int) ([]byte, error) {
	conn, err := st.dial(ctx, net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("broker: greeting the node at port %d: %w", port, err)
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

// withoutURL removes the URL, and so the password, from an HTTP client's error.
func withoutURL(err error) error {
	var withURL interface{ Unwrap() error }
	if errors.As(err, &withURL) && withURL.Unwrap() != nil {
		return withURL.Unwrap()
	}
	return err
}
