// Package broker runs private RabbitMQ nodes: it finds the installed RabbitMQ,
// gives it a folder, ports, a user and an Erlang world of its own, starts it,
// waits until it serves, and stops it without leaving a process behind.
//
// A node never touches another RabbitMQ on the machine: it has its own data,
// cookie, node name and epmd (Erlang's name server), reads nothing from
// /etc/rabbitmq, and everything it opens listens on 127.0.0.1 alone.
//
// Read [Start] first, then [Open] and [Node.Stop]. Linux and macOS only; on
// other systems the package compiles and Start returns an error.
package broker

import (
	"errors"
	"path/filepath"
	"time"
)

var (
	// ErrNotRunning is what Open returns where a folder holds no running node.
	ErrNotRunning = errors.New("broker: no node is running")
	// ErrRunning is what Start returns where the folder's node runs already.
	ErrRunning = errors.New("broker: the node is running already")
)

// Options says which node Start starts. The zero value of a field is its default.
type Options struct {
	// Dir is the node's own folder: settings, data and logs. Start creates it,
	// readable by nobody else, and takes up again what an earlier node left in
	// it: queues, user and password, and the ports as far as they are free.
	// Required.
	Dir string

	// Server is the rabbitmq-server script, or the folder of a generic-unix
	// tree. Default: found on PATH and where Debian, Fedora, Homebrew and the
	// generic-unix archive put it.
	Server string

	// Chroot is the root of a system tree that holds a RabbitMQ of its own; the
	// node runs by chroot in it, which takes root. Dir must lie inside it, and
	// Server is a path inside it. Default: none.
	Chroot string

	// StartTimeout bounds the whole start. Default: 2 minutes.
	StartTimeout time.Duration

	// Plugins are enabled besides rabbitmq_management and rabbitmq_stream.
	Plugins []string

	// ExtraConfig is appended to rabbitmq.conf, line by line as it is.
	ExtraConfig string
}

// Node is a private RabbitMQ that was started by Start or found by Open. Its
// fields don't change; its methods may be called from several goroutines.
type Node struct {
	Dir           string    // its folder, absolute
	URL           string    // amqp://USER:PASSWORD@127.0.0.1:PORT/
	StreamURL     string    // rabbitmq-stream://USER:PASSWORD@127.0.0.1:PORT/
	ManagementURL string    // http://USER:PASSWORD@127.0.0.1:PORT/
	Name          string    // Erlang node name
	Version       string    // what RabbitMQ says it is, like "3.10.8"; empty until it has once served
	PID           int       // process id of the Erlang virtual machine
	StartedAt     time.Time // when the process was started

	state state
	done  <-chan struct{} // closed when a process of ours has been reaped; nil after Open
}

// LogFile is the path of the log of the node that is, or was, in dir.
func LogFile(dir string) string { return filepath.Join(dir, logDirName, "rabbit.log") }

// newNode describes the node that st records.
func newNode(dir string, st state, done <-chan struct{}) *Node {
	return &Node{
		Dir:           dir,
		URL:           st.url("amqp", st.Ports.AMQP),
		StreamURL:     st.url("rabbitmq-stream", st.Ports.Stream),
		ManagementURL: st.url("http", st.Ports.Management),
		Name:          st.Name,
		Version:       st.Version,
		PID:           st.Server.PID,
		StartedAt:     st.StartedAt,
		state:         st,
		done:          done,
	}
}

// DiskReserve is how many bytes of disk a node needs beyond what its queues and
// streams take: RabbitMQ stops every publisher while less than 50 MB are free
// (disk_free_limit), looks every 100 ms when it comes near that, and writes logs.
const DiskReserve = 256 << 20
