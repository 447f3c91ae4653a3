package broker

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asNobody runs do in a goroutine that is another user, as far as files and sockets know.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	go func() {
		runtime.LockOSThread() // and never unlocked, so the thread ends with the goroutine
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Error(err)
		}
		do()
	}()
}

// thief is another user's listener. It answers what asks it as a node would, and keeps all
// that it is told.
type thief struct {
	mu       sync.Mutex
	told     bytes.Buffer
	listener net.Listener
}

// steal listens on a port of loopback as another user, from when it is called until the
// test ends.
func steal(t *testing.T, port int) *thief {
	t.Helper()
	thief := &thief{}
	listening := make(chan error)
	asNobody(t, func() {
		var err error
		thief.listener, err = listen(port)
		listening <- err
		for err == nil {
			var conn net.Conn
			if conn, err = thief.listener.Accept(); err == nil {
				go thief.serve(conn)
			}
		}
	})
	if err := <-listening; err != nil {
		t.Errorf("the thief has no port: the test shows nothing: %v", err)
	} else {
		t.Cleanup(func() { thief.listener.Close() })
	}
	return thief
}

func (s *thief) serve(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.told.Write(buffer[:n])
		s.mu.Unlock()
		answer := "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"RabbitMQ\"\r\nContent-Length: 0\r\n\r\n"
		switch {
		case bytes.HasPrefix(buffer, []byte("AMQP")):
			answer = "\x01"
		case buffer[0] == 0:
			answer = "\x00\x00\x00\x0e" + "\x80\x11\x00\x01" + "\x00\x00\x00\x01" + "\x00\x01" + "\x00\x00\x00\x00"
		}
		_, _ = conn.Write([]byte(answer))
	}
}

// leaveOnce gives the port back as soon as one of the logs has text in it. Logs of earlier
// starts must not have it.
func (s *thief) leaveOnce(t *testing.T, text string, logs ...string) {
	for t.Context().Err() == nil {
		for _, path := range logs {
			if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(text)) {
				s.listener.Close()
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// knows reports whether the thief was told the password of a node.
func (s *thief) knows(st state) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	basic := base64.StdEncoding.EncodeToString([]byte(st.User + ":" + st.Password))
	told := s.told.String()
	return strings.Contains(told, st.Password) || strings.Contains(told, basic)
}

// TestPortsStolen: another user, who knows the ports and the name of the last start, takes
// some of them after we have seen that they are free, and plays the node there. He gets no
// password, and the node comes up on other ports with another one, and with its data.
func TestPortsStolen(t *testing.T) {
	takesRoot(t)
	t.Parallel()
	dir := nodeDir(t)
	before := start(t, Options{Dir: dir})
	declareQueue(t, before, "kept")
	for _, test := range []struct {
		name  string
		steal func(t *testing.T, st state) []*thief
	}{
		{"the port of streams, for a moment", func(t *testing.T, st state) []*thief {
			passing := steal(t, st.Ports.Stream)
			go passing.leaveOnce(t, portInUse, filepath.Join(dir, startupLogName), LogFile(dir))
			return []*thief{passing}
		}},
		{"all ports", func(t *testing.T, st state) []*thief {
			return []*thief{steal(t, st.Ports.AMQP), steal(t, st.Ports.Stream), steal(t, st.Ports.Management)}
		}},
		{"the port of the management API", func(t *testing.T, st state) []*thief {
			return []*thief{steal(t, st.Ports.Management)}
		}},
		{"the name at epmd", func(t *testing.T, st state) []*thief {
			registerAt(t, st.Ports.EPMD, st.Name)
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := before.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			var thieves []*thief
			stolen := make(chan struct{})
			go func() {
				defer close(stolen)
				for epmdAnswer(before.state.Ports.EPMD) == "" && t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				thieves = test.steal(t, before.state)
			}()
			node, err := Start(t.Context(), Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			<-stolen
			for _, thief := range thieves {
				if thief.knows(before.state) || thief.knows(node.state) {
					t.Error("the thief was told a password")
				}
			}
			if node.state.Ports == before.state.Ports || node.state.Password == before.state.Password {
				t.Errorf("the node has the ports %v and had %v, same password: %v; want others",
					node.state.Ports, before.state.Ports, node.state.Password == before.state.Password)
			}
			if err := node.Ready(t.Context()); err != nil {
				t.Error(err)
			}
			if !hasQueue(t, node, "kept") {
				t.Error("its queue is gone")
			}
			before = node
		})
	}
	if err := before.Kill(); err != nil {
		t.Error(err)
	}
}

// registerAt tells an epmd that a node of this name runs, until the test ends:
// ALIVE2_REQ in "Erlang Distribution Protocol", section "EPMD Protocol".
func registerAt(t *testing.T, port int, node string) {
	t.Helper()
	name, _, _ := strings.Cut(node, "@")
	request := []byte{'x', 0, 1, 77, 0, 0, 6, 0, 5, 0, byte(len(name))}
	request = append(append(request, name...), 0, 0)
	conn, err := net.Dial("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { conn.Close() })
	answer := make([]byte, 2)
	_, err = conn.Write(append([]byte{0, byte(len(request))}, request...))
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil || answer[1] != 0 {
		t.Errorf("epmd answered %v, %v: the test shows nothing", answer, err)
	}
}

// TestStrangerIsGreetedOnly: where another user listens, Ready and DialContext say so and
// send nothing that matters.
func TestStrangerIsGreetedOnly(t *testing.T) {
	takesRoot(t)
	t.Parallel()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	st := newState()
	if err := st.movePorts(); err != nil {
		t.Fatal(err)
	}
	st.Ports.AMQP, st.Ports.Stream, st.Ports.Management = port, port, port
	thief := steal(t, port)
	node := newNode("/nowhere", st, holder{})
	if err := node.Ready(t.Context()); !errors.Is(err, ErrStranger) || strings.Contains(err.Error(), st.Password) {
		t.Errorf("Ready returned %v, want ErrStranger", err)
	}
	conn, err := node.DialContext(t.Context(), "tcp", thief.listener.Addr().String())
	if !errors.Is(err, ErrStranger) {
		t.Errorf("DialContext returned %v, %v, want ErrStranger", conn, err)
	}
	if thief.knows(st) {
		t.Error("the thief was told the password")
	}
}

// TestNobodyAccepts: a connection in the queue of a listener is nobody's yet, and no
// reason to believe.
func TestNobodyAccepts(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	conn, err := newState().dial(ctx, listener.Addr().String())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial returned %v, %v, want the context's end", conn, err)
	}
}

func declareQueue(t *testing.T, n *Node, name string) {
	t.Helper()
	if status := manage(t, n, http.MethodPut, "queues/%2F/"+name, `{"durable":true}`); status != http.StatusCreated {
		t.Fatalf("declaring a queue: status %d", status)
	}
}

func hasQueue(t *testing.T, n *Node, name string) bool {
	t.Helper()
	return manage(t, n, http.MethodGet, "queues/%2F/"+name, "") == http.StatusOK
}

// manage sends a request to the management API and returns the status of its answer.
func manage(t *testing.T, n *Node, method, path, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, n.ManagementURL+"api/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
