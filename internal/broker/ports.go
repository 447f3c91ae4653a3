package broker

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const loopback = "127.0.0.1"

func (p ports) all() []int {
	return []int{p.AMQP, p.Stream, p.Management, p.Distribution, p.EPMD}
}

// free reports whether every port is set and none is in use.
func (p ports) free() bool {
	for _, port := range p.all() {
		if port == 0 {
			return false
		}
		listener, err := listen(port)
		if err != nil {
			return false
		}
		listener.Close()
	}
	return true
}

// pickPorts finds free ports for a node.
func pickPorts() (ports, error) {
	picked, err := freePorts(5)
	if err != nil {
		return ports{}, err
	}
	return ports{picked[0], picked[1], picked[2], picked[3], picked[4]}, nil
}

// FreePort finds a free port of 127.0.0.1 for a listener that Options.ExtraConfig adds.
// Another process may take it before the node does.
func FreePort() (int, error) {
	picked, err := freePorts(1)
	if err != nil {
		return 0, err
	}
	return picked[0], nil
}

// freePorts finds n free ports. Another process may take one before the caller does. It
// looks below the range from which systems take the ports of outgoing connections,
// because a node that is restarted needs its own ports again.
func freePorts(n int) ([]int, error) {
	const first, last, attempts = 10000, 32000, 1000
	var picked []int
	var err error
	for range attempts {
		port := first + rand.IntN(last-first)
		var listener net.Listener
		if listener, err = listen(port); err != nil {
			continue
		}
		defer listener.Close() // kept until all are picked, so that they differ
		if picked = append(picked, port); len(picked) == n {
			return picked, nil
		}
	}
	return nil, fmt.Errorf("broker: looking for free ports on %s: %w", loopback, err)
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
}
