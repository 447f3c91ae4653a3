package broker

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// epmdNames asks for the names that epmd keeps: NAMES_REQ in "Erlang Distribution
// Protocol", section "EPMD Protocol".
const epmdNames = 'n'

// waitForEPMD waits until the epmd that was just started answers. It returns early if
// epmd ends, as it does if its port is taken.
func waitForEPMD(ctx context.Context, port int, epmd process) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("broker: starting Erlang's epmd: %w", context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
		if !epmd.alive() {
			return fmt.Errorf("broker: Erlang's epmd ended at once; is port %d taken?", port)
		}
		if epmdAnswer(port) != "" {
			return nil
		}
	}
}

// epmdAnswer asks the epmd on a port for its names and returns all of the answer,
// "" where nobody gives one.
func epmdAnswer(port int) string {
	conn, err := net.DialTimeout("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)), time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return ""
	}
	if _, err := conn.Write([]byte{0, 1, epmdNames}); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(io.LimitReader(conn, 64<<10))
	return string(answer)
}
