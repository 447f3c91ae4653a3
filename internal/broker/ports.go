package broker

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
)

const loopback = "127.0.0.1"

func (p ports) all() []int {
	return []int{p.AMQP, p.Stream, p.Management, p.Distribution, p.EPMD}
}

// free reports whether every port is set and none is in use.
func (p ports) free() bool {
	all := p.all()
	return !slices.Contains(all, 0) && checkFree(all) == nil
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

// freePorts finds n free ports in a row. Another process may take one before the caller does.
// It looks below the range from which systems take the ports of outgoing connections,
// because a node that is restarted needs its own ports again. Nodes have the same row or
// none in common: so one that is down seldom loses a port to another.
func freePorts(n int) ([]int, error) {
	const first, last, attempts = 10000, 32000, 1000
	var err error
	for range attempts {
		picked := make([]int, n)
		start := first + n*rand.IntN((last-first)/n)
		for i := range picked {
			picked[i] = start + i
		}
		if err = checkFree(picked); err == nil {
			return picked, nil
		}
	}
	return nil, fmt.Errorf("broker: looking for free ports on %s: %w", loopback, err)
}

// checkFree returns why one of the ports can't be listened on.
func checkFree(all []int) error {
	for _, port := range all {
		listener, err := listen(port)
		if err != nil {
			return err
		}
		listener.Close()
	}
	return nil
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
}
