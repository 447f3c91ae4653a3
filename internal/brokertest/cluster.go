package brokertest

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/broker"
)

// Cluster is private nodes that have joined one another. Each may be killed, paused and started
// again.
type Cluster struct {
	broker Broker // whose version they have
	nodes  []*broker.Node
	states []nodeState
}

// nodeState is what Cluster needs of the file state.json of a node's folder.
type nodeState struct {
	Name   string `json:"name"`
	User   string `json:"user"`
	Cookie string `json:"cookie"` // Erlang's, which nodes of a cluster share
	Ports  struct {
		Distribution int `json:"distribution"`
		EPMD         int `json:"epmd"`
	} `json:"ports"`
}

// NewCluster starts n nodes of b's version for this test only, and joins them.
func NewCluster(t testing.TB, b Broker, n int) *Cluster {
	t.Helper()
	c := &Cluster{broker: b, nodes: make([]*broker.Node, n), states: make([]nodeState, n)}
	cookie := randomHex()
	var starts sync.WaitGroup
	for i := range n {
		dir := b.privateDir(t)
		state := map[string]string{"name": "thump-" + randomHex() + "@127.0.0.1", "user": "thump-" + strconv.Itoa(i), "cookie": cookie}
		text, err := json.Marshal(state)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, stateFile), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		starts.Go(func() { c.start(t, i, dir) })
	}
	starts.Wait()
	if t.Failed() {
		t.FailNow()
	}
	over := make(chan struct{})
	var introductions sync.WaitGroup
	t.Cleanup(func() { close(over); introductions.Wait() })
	for i := range n {
		for j := range n {
			if i != j {
				introductions.Go(func() { introduce(c.states[i], c.states[j], over) })
			}
		}
	}
	for i := 1; i < n; i++ {
		for _, command := range [][]string{{"stop_app"}, {"join_cluster", c.states[0].Name}, {"start_app"}} {
			if output, err := c.nodes[i].Ctl(t.Context(), command...); err != nil {
				t.Fatalf("rabbitmqctl %v: %v: %s", command, err, output)
			}
		}
	}
	return c
}

// stateFile is the name of that file.
const stateFile = "state.json"

func randomHex() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// start starts a node, or starts it again.
func (c *Cluster) start(t testing.TB, i int, dir string) {
	node, err := broker.Start(t.Context(), broker.Options{Dir: dir, Chroot: c.broker.Chroot, Attached: true})
	if err != nil {
		t.Error(err)
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	var state nodeState
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	switch {
	case err != nil:
		t.Error(err)
	case c.states[i].Name != "" && c.states[i] != state:
		t.Errorf("a process has taken a port of node %d meanwhile", i)
	}
	c.nodes[i], c.states[i] = node, state
}

// Restart starts a node again that was killed.
func (c *Cluster) Restart(t testing.TB, i int) {
	t.Helper()
	c.start(t, i, c.nodes[i].Dir)
	if t.Failed() {
		t.FailNow()
	}
}

// Node is one of the nodes.
func (c *Cluster) Node(i int) *broker.Node { return c.nodes[i] }

// Called is the number of the node of that name.
func (c *Cluster) Called(name string) int {
	for i, state := range c.states {
		if state.Name == name {
			return i
		}
	}
	return -1
}

// Name is the name of a node, as RabbitMQ has it.
func (c *Cluster) Name(i int) string { return c.states[i].Name }

// URLs are those of all nodes, for AMQP and streams. They have the user of the first node, whom
// the others have learned of when they joined it.
func (c *Cluster) URLs(t testing.TB) (urls []string) {
	t.Helper()
	for _, node := range c.nodes {
		urls = append(urls, c.withUser(t, node.URL), c.withUser(t, node.StreamURL))
	}
	return urls
}

// ManagementURL is that of node i, with the user of URLs.
func (c *Cluster) ManagementURL(t testing.TB, i int) string {
	t.Helper()
	return c.withUser(t, c.nodes[i].ManagementURL)
}

func (c *Cluster) withUser(t testing.TB, nodeURL string) string {
	t.Helper()
	first, err := url.Parse(c.nodes[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(nodeURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = first.User
	return u.String()
}

// introduce lets the epmd of one node, Erlang's name server, know another node, until over is
// closed. A node has an epmd of its own, and an epmd knows a node while it has a connection of it
// (Erlang's distribution protocol, "Register a Node in EPMD").
func introduce(to, whom nodeState, over <-chan struct{}) {
	name, _, _ := strings.Cut(whom.Name, "@")
	const registers, visible, overTCP, highest, lowest = 120, 77, 0, 6, 5
	request := []byte{0, 0, registers}
	request = binary.BigEndian.AppendUint16(request, uint16(whom.Ports.Distribution))
	request = append(request, visible, overTCP, 0, highest, 0, lowest)
	request = binary.BigEndian.AppendUint16(request, uint16(len(name)))
	request = append(append(request, name...), 0, 0) // nothing extra
	binary.BigEndian.PutUint16(request, uint16(len(request)-2))
	for {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(to.Ports.EPMD)))
		if err == nil {
			stop := make(chan struct{})
			go func() {
				select {
				case <-over:
				case <-stop:
				}
				_ = conn.Close()
			}()
			if _, err = conn.Write(request); err == nil {
				_, _ = io.Copy(io.Discard, conn) // until the epmd ends
			}
			close(stop)
		}
		select {
		case <-over:
			return
		case <-time.After(50 * time.Millisecond): // its node was killed, and may start again
		}
	}
}
