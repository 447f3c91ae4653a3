package main

import (
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestPasswordIsForTheBroker: the private broker runs, but its RabbitMQ has stopped
// listening, and another user has taken its AMQP port. No command gives that one the
// password, nor tells the user to go there.
func TestPasswordIsForTheBroker(t *testing.T) {
	t.Parallel()
	home, remove, err := home()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	node, err := broker.Start(t.Context(), broker.Options{Dir: filepath.Join(home, "broker")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Kill(); err != nil {
			t.Error(err)
		}
	})
	if _, err := node.Ctl(t.Context(), "stop_app"); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(node.URL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := address.User.Password()
	theft := steal(t, address.Host, password, brokertest.All(t)[0].URL)
	for _, args := range [][]string{
		{"send", "hello", "--count", "1"},
		{"send", "hello", "--count", "1", "--url", node.URL},
		{"broker", "status"},
		{"broker", "status", "--url"},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Args[0] = "thump" // TestMain then runs main
		cmd.Env = append(os.Environ(), "THUMP_URL=", "THUMP_STREAM_URL=", "THUMP_HOME="+home)
		output, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(output), "another user's process") {
			t.Errorf("thump %s: %v, %q; want it to say who listens there", args, err, output)
		}
		if strings.Contains(string(output), password) {
			t.Errorf("thump %s printed the password", args)
		}
	}
	if theft.Load() {
		t.Error("the other user was told the password")
	}
}

// TestRelativeHome: for any user but root, who needs none, a relative home would be another
// in each working folder, and is as good as none.
func TestRelativeHome(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test plays another user, which takes root: run make test")
	}
	home, remove, err := home()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	exe, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "thump"), exe, 0o755) // where that user may run it
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"broker", "start"}, {"broker", "status"}, {"run", "--private"}} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(home, "thump"), args...)
		cmd.Dir, cmd.Env = home, []string{"HOME=relative"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		output, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitUsage || !strings.Contains(string(output), "has no home") {
			t.Errorf("thump %s: exit code %d, %q; want it to say that the user has no home", args, cmd.ProcessState.ExitCode(), output)
		}
	}
}

// steal listens at address as another user, nobody, and passes all that comes to a real
// broker, whose answers make it believable. The result says whether a password came by.
func steal(t *testing.T, address, password, brokerURL string) *atomic.Bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test plays another user, which takes root: run make test")
	}
	real, err := url.Parse(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	var stolen atomic.Bool
	var listener net.Listener
	listening := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so the thread ends with the goroutine
		err := syscall.Setfsuid(65534)
		if err == nil {
			listener, err = net.Listen("tcp4", address)
		}
		listening <- err
		for err == nil {
			var conn net.Conn
			if conn, err = listener.Accept(); err == nil {
				go relay(conn, real.Host, func(told []byte) {
					if strings.Contains(string(told), password) {
						stolen.Store(true)
					}
				})
			}
		}
	}()
	if err := <-listening; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return &stolen
}

// relay connects conn with address, until either side ends, and shows look what conn sends.
func relay(conn net.Conn, address string, look func([]byte)) {
	defer conn.Close()
	onward, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer onward.Close()
	go func() {
		defer conn.Close()
		_, _ = io.Copy(conn, onward)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		look(buffer[:n])
		if _, err := onward.Write(buffer[:n]); err != nil {
			return
		}
	}
}
