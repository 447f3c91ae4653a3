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

// waitUntilServing waits until the node answers on AMQP and its management API
// does, and returns RabbitMQ's version. It ends early when the server has.
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

// probe asks the node's AMQP listener for a greeting, and then its management
// API who it is. The second tells our node from a stranger on a port that we
// believed free.
func probe(ctx context.Context, st state) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := greet(ctx, st.Ports.AMQP); err != nil {
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

// greet sends the AMQP protocol header and wants the method frame that a server
// answers with, Connection.Start.
func greet(ctx context.Context, port int) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("broker: greeting the node: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("broker: greeting the node: %w", err)
		}
	}
	if _, err := conn.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		return fmt.Errorf("broker: greeting the node: %w", err)
	}
	frameType := make([]byte, 1)
	if _, err := io.ReadFull(conn, frameType); err != nil {
		return fmt.Errorf("broker: greeting the node: %w", err)
	}
	if frameType[0] != 1 {
		return fmt.Errorf("broker: port %d doesn't speak AMQP", port)
	}
	return nil
}

// withoutURL takes the URL, and so the password, out of an HTTP client's error.
func withoutURL(err error) error {
	var withURL interface{ Unwrap() error }
	if errors.As(err, &withURL) && withURL.Unwrap() != nil {
		return withURL.Unwrap()
	}
	return err
}
