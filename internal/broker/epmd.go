package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Requests of the EPMD protocol ("Erlang Distribution Protocol", section EPMD).
const (
	epmdNames = 'n'
	epmdKill  = 'k'
)

// waitForEPMD waits until the epmd that was just started answers. It ends early
// when epmd has: its port was taken.
func waitForEPMD(ctx context.Context, port int, epmdDone <-chan struct{}) error {
	for {
		select {
		case <-epmdDone:
			return fmt.Errorf("broker: Erlang's epmd ended at once; is port %d taken?", port)
		case <-ctx.Done():
			return fmt.Errorf("broker: starting Erlang's epmd: %w", context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
		if askEPMD(port, epmdNames) != "" {
			return nil
		}
	}
}

// findStrayEPMD reports whether an epmd other than the one that we started keeps
// the node's name. RabbitMQ starts one when it finds ours gone, and nobody knows
// its pid.
func (s state) findStrayEPMD() bool {
	if s.EPMD.alive() || !s.Server.alive() {
		return false
	}
	name, _, _ := strings.Cut(s.Name, "@")
	return strings.Contains(askEPMD(s.Ports.EPMD, epmdNames), "name "+name+" at port")
}

// killEPMDAt asks the epmd on a port to end. It refuses while it has a name to keep.
func killEPMDAt(port int) {
	const attempts = 100 // it learns of the node's end a moment after us
	for range attempts {
		if answer := askEPMD(port, epmdKill); answer == "OK" || answer == "" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// askEPMD sends a request and returns all of the answer, "" where nobody gives one.
func askEPMD(port int, request byte) string {
	conn, err := net.DialTimeout("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)), time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return ""
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, 1), request)); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(io.LimitReader(conn, 64<<10))
	return string(answer)
}
