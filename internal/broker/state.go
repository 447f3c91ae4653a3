package broker

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// What a node's folder holds. Only confDirName, dataDirName and logDirName are
// open to the user that RabbitMQ runs as, and of those it may write the last two.
const (
	stateFileName = "state.json" // what Open needs; holds the password, 0600
	lockFileName  = "lock"       // held while the node is started or stopped
	confDirName   = "conf"       // rabbitmq.conf, enabled_plugins, the cookie; also RabbitMQ's HOME
	dataDirName   = "data"
	logDirName    = "log"
)

// process is a process that we started. A pid alone may by now belong to
// somebody else, so Identity tells this process from any later one with its pid.
type process struct {
	PID      int    `json:"pid"`
	Identity string `json:"identity"`
}

// ports are a node's listeners, all on 127.0.0.1.
type ports struct {
	AMQP         int `json:"amqp"`
	Stream       int `json:"stream"`
	Management   int `json:"management"`
	Distribution int `json:"distribution"` // Erlang's own protocol, for rabbitmqctl
	EPMD         int `json:"epmd"`         // Erlang's name server
}

// state is what a node's folder remembers between processes. The name, user,
// password and cookie live as long as the data does: the data is bound to the
// name, and RabbitMQ makes the user only once.
type state struct {
	Name      string    `json:"name"`
	User      string    `json:"user"`
	Password  string    `json:"password"`
	Cookie    string    `json:"cookie"`
	Chroot    string    `json:"chroot,omitempty"`
	Script    string    `json:"script"` // rabbitmq-server, as seen inside Chroot
	Version   string    `json:"version"`
	Ports     ports     `json:"ports"`
	Server    process   `json:"server"`
	EPMD      process   `json:"epmd"`
	StartedAt time.Time `json:"started_at"`
}

// newState makes up the secrets of a new node.
func newState() state {
	return state{
		// An address for a host name: it needs no resolver, inside a chroot either.
		Name:     "thump-" + randomHex(4) + "@127.0.0.1",
		User:     "thump-" + randomHex(4),
		Password: randomHex(16),
		Cookie:   randomHex(32),
	}
}

// url is the address of one of the node's listeners, with user and password.
func (s state) url(scheme string, port int) string {
	u := url.URL{
		Scheme: scheme,
		User:   url.UserPassword(s.User, s.Password),
		Host:   net.JoinHostPort(loopback, strconv.Itoa(port)),
		Path:   "/",
	}
	return u.String()
}

// readState returns fs.ErrNotExist, wrapped, where there was never a node.
func readState(dir string) (state, error) {
	var st state
	data, err := os.ReadFile(filepath.Join(dir, stateFileName))
	if err != nil {
		return st, fmt.Errorf("broker: reading a node's state: %w", err)
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return st, fmt.Errorf("broker: reading a node's state in %s: %w", dir, err)
	}
	return st, nil
}

// write replaces the state file in one step, so that a reader sees the old or
// the new one, and a crash leaves one of them.
func (s state) write(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("broker: writing a node's state: %w", err)
	}
	path := filepath.Join(dir, stateFileName)
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("broker: writing a node's state: %w", err)
	}
	if err := os.WriteFile(temporary, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("broker: writing a node's state: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("broker: writing a node's state: %w", err)
	}
	return nil
}

// randomHex returns n random bytes in hexadecimal: letters and digits only, so
// that they need no quoting in a URL, a shell or rabbitmq.conf.
func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: see its documentation
	return hex.EncodeToString(b)
}
