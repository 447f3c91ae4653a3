// Package broker runs private RabbitMQ nodes: it finds the installed RabbitMQ, gives it
// its own folder, ports, user, Erlang cookie, node name and epmd, starts it, waits until
// it serves, and stops it with all its processes.
//
// A node never touches another RabbitMQ on the machine: it shares none of these (epmd
// is Erlang's name server), reads nothing from /etc/rabbitmq, and listens on 127.0.0.1
// only.
//
// Read [Start] first, then [Open] and [Node.Stop]; [Clean] is for what was left by nodes
// that nobody could stop. [Node.Kill], [Node.Pause] and [Node.Again] make an outage. Linux
// and macOS only; on other systems the package compiles and Start returns an error.
package broker

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

var (
	// ErrNotRunning is Open's error for a folder without a running node.
	ErrNotRunning = errors.New("broker: no node is running")
	// ErrRunning is Start's error for a folder whose node is running already.
	ErrRunning = errors.New("broker: the node is running already")
	// ErrPaused is Ready's error for a node that Pause has stopped.
	ErrPaused = errors.New("broker: the node is paused, and answers nothing until thump broker resume")
	// ErrStranger is the error of Ready and DialContext where somebody else listens.
	// Any user may take a port of loopback that is free, and a node's ports are known
	// to all: they are kept from start to start.
	ErrStranger = errors.New("another user's process listens there, and not the private broker")
)

// ElsewhereError says that the node of a folder runs where this process can't see it:
// on another host that shares the folder, or in another container. Start, Open and Clean
// return it.
type ElsewhereError struct {
	Dir   string
	Host  string    // its name
	PID   int       // the Erlang virtual machine's, there; 0 while the node starts
	Since time.Time // when its start began
}

// Error is one line.
func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("broker: the node of this folder runs elsewhere: on host %s, in another container or on another machine, as process %d there, since %s (%s)",
		e.Host, e.PID, e.Since.Format(time.DateTime), e.Dir)
}

// Options says which node Start starts. A zero field has its default.
type Options struct {
	// Dir is the node's own folder: settings, data and logs. Start creates it, and
	// no other user may read it. If an earlier node left something in it, the new
	// one continues with that: queues, user and password, and the ports if they
	// are free. Required.
	Dir string

	// Temporary gives the node a new folder in Dir, named run- and a number, that
	// Stop and Kill remove. It implies Attached. If this process is killed, the folder
	// goes too, and what a power cut leaves of it is for Clean to remove.
	Temporary bool

	// Attached makes the node end with this process, however it ends. Without it the
	// node runs until Stop.
	Attached bool

	// Server is the rabbitmq-server script, or the folder of a generic-unix
	// tree. Default: the one on PATH, or where Debian, Fedora, Homebrew and the
	// generic-unix archive put it.
	Server string

	// Chroot is the root of a system tree that has a RabbitMQ. The node runs in it
	// by chroot, for which we must be root. Dir must be inside it, and Server is a
	// path inside it. Default: none.
	Chroot string

	// StartTimeout is how long the whole start may take. Default: 2 minutes.
	StartTimeout time.Duration

	// Plugins are enabled in addition to rabbitmq_management and rabbitmq_stream.
	Plugins []string

	// ExtraConfig is appended to rabbitmq.conf.
	ExtraConfig string
}

// Node is a private RabbitMQ that Start has started or Open has found. Its fields don't
// change; its methods may be called from several goroutines at once.
type Node struct {
	Dir           string    // its folder, absolute
	URL           string    // amqp://USER:PASSWORD@127.0.0.1:PORT
	StreamURL     string    // rabbitmq-stream://USER:PASSWORD@127.0.0.1:PORT
	ManagementURL string    // http://USER:PASSWORD@127.0.0.1:PORT/
	Name          string    // Erlang node name
	Version       string    // what RabbitMQ says, such as "3.10.8"; empty until it has served
	PID           int       // process id of the Erlang virtual machine
	StartedAt     time.Time // when its start began

	state     state
	holder    holder
	keeper    *keeper    // nil after Open
	temporary *temporary // nil unless it is one, and this process has started it
}

// LogFile is the path of the log of the node that is, or was, in dir.
func LogFile(dir string) string { return filepath.Join(dir, logDirName, "rabbit.log") }

// Leftover is what Clean has found of a node that nobody has stopped.
type Leftover struct {
	Dir     string
	Host    string    // where it ran; empty if it was killed before it could say so
	Since   time.Time // when its start began, or zero
	Ended   []int     // the processes that were still there, and have been killed
	Removed bool      // the folder of a temporary node, which is removed
}

// Found is what Look has found in a folder. If Node and Elsewhere are nil the node is not
// running, and Busy, Abandoned or neither is set.
type Found struct {
	Dir       string
	Temporary bool            // the folder goes with the node
	Node      *Node           // if it runs here; see Open
	Elsewhere *ElsewhereError // if it runs where this process can't see it
	Busy      bool            // somebody starts or stops it just now; Node may be set then
	Abandoned bool            // it has ended without being stopped; Clean is for that
	Host      string          // where it ran
	Since     time.Time       // when its start began
}

// newNode describes the node of dir whose processes are h's.
func newNode(dir string, st state, h holder) *Node {
	return &Node{
		Dir:           dir,
		URL:           st.url("amqp", st.Ports.AMQP),
		StreamURL:     st.url("rabbitmq-stream", st.Ports.Stream),
		ManagementURL: st.url("http", st.Ports.Management) + "/",
		Name:          st.Name,
		Version:       st.Version,
		PID:           h.Server.PID,
		StartedAt:     h.StartedAt,
		state:         st,
		holder:        h,
	}
}

// Again is what Start takes to start the node once more as it was, after Stop or Kill. The
// folder keeps the rest: data, user and password, and the ports, if they are still free
// then. Server is empty where Start finds the same one by itself. Attached is true for a
// node that ends with the process that has started it: only that process can start it
// again so. A temporary node is not started again: its folder is gone.
func (n *Node) Again() Options {
	o := Options{
		Dir: n.Dir, Attached: n.state.Attached, Server: n.state.Script, Chroot: n.state.Chroot,
		Plugins: n.state.Plugins, ExtraConfig: n.state.ExtraConfig,
	}
	if found, err := findServer("", o.Chroot); err == nil && found == o.Server {
		o.Server = ""
	}
	return o
}

// DiskReserve is how many bytes of disk a node needs in addition to its queues and
// streams. RabbitMQ blocks all publishers while less than 50 MB are free
// (disk_free_limit), near that looks only every 100 ms, and writes logs too. Start fails
// where fewer are free.
const DiskReserve = 256 << 20
