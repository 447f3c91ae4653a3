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

// The contents of a node's folder. The user that RabbitMQ runs as may enter confDirName,
// dataDirName and logDirName, and write in the last two. We open nothing there for writing,
// because it could have put a link in the place of what we want to open.
const (
	stateFileName   = "state.json"   // what lasts; contains the password, 0600
	holderFileName  = "running.json" // which processes run the node
	runningFileName = "running"      // empty; locked as long as the node runs
	lockFileName    = "lock"         // empty; locked while the node is started or stopped
	epmdLogName     = "epmd.log"     // what epmd prints
	startupLogName  = "startup.log"  // what the start script prints, before RabbitMQ has a log
	confDirName     = "conf"         // rabbitmq.conf, enabled_plugins, the cookie; also RabbitMQ's HOME
	dataDirName     = "data"
	logDirName      = "log"

	newSuffix = ".new" // of a file that is to replace another
)

// process is a process that we have started. Its pid may by now belong to another
// process, so Identity distinguishes the two.
type process struct {
	PID      int    `json:"pid"`
	Identity string `json:"identity"`
}

// holder says which processes have the lock of a folder. Only who has it writes this.
type holder struct {
	Host      string    `json:"host"`
	Place     string    `json:"place"` // where the process ids mean something; see place
	Keeper    process   `json:"keeper"`
	Server    process   `json:"server"`
	EPMD      process   `json:"epmd"`
	StartedAt time.Time `json:"started_at"`
}

// ports are a node's listeners, all on 127.0.0.1.
type ports struct {
	AMQP         int `json:"amqp"`
	Stream       int `json:"stream"`
	Management   int `json:"management"`
	Distribution int `json:"distribution"` // Erlang's own protocol, for rabbitmqctl
	EPMD         int `json:"epmd"`         // Erlang's name server
}

// state is what a node's folder keeps between starts. Name, user and cookie last as long
// as the data, which depends on the name. Ports and password last until a port is taken
// by somebody else. Only who has the folder's lock writes it.
type state struct {
	Name     string `json:"name"`
	User     string `json:"user"`
	Password string `json:"password"`
	Cookie   string `json:"cookie"`
	Chroot   string `json:"chroot,omitempty"`
	Script   string `json:"script"` // rabbitmq-server, as seen inside Chroot
	Version  string `json:"version"`
	Ports    ports  `json:"ports"`

	// Of the last start: see Options.
	Attached    bool     `json:"attached,omitempty"`
	Plugins     []string `json:"plugins,omitempty"`
	ExtraConfig string   `json:"extra_config,omitempty"`
}

// newState returns the state of a new node, with random names and secrets; movePorts gives
// it the rest.
func newState() state {
	return state{
		// The host is an address, so no resolver is needed, not even in a chroot.
		Name:   "thump-" + randomHex(4) + "@127.0.0.1",
		User:   "thump-" + randomHex(4),
		Cookie: randomHex(32),
	}
}

// movePorts gives the node free ports, and a new password: whoever has taken one of the
// old ports may have been told the old password, by a program that still uses the old URL.
func (s *state) movePorts() error {
	picked, err := pickPorts()
	if err != nil {
		return err
	}
	s.Ports, s.Password = picked, randomHex(16)
	return nil
}

// url is the address of one of the node's listeners, with user and password. It ends
// with the port: by RabbitMQ's URI specification a slash after that would name the
// vhost "", which is not there, and most clients take it so.
func (s state) url(scheme string, port int) string {
	u := url.URL{
		Scheme: scheme,
		User:   url.UserPassword(s.User, s.Password),
		Host:   net.JoinHostPort(loopback, strconv.Itoa(port)),
	}
	return u.String()
}

// readState reads the state in dir. The error wraps fs.ErrNotExist if there never was a
// node.
func readState(dir string) (state, error) {
	var st state
	data, err := readOurs(filepath.Join(dir, stateFileName))
	if err != nil {
		return st, fmt.Errorf("broker: reading a node's state: %w", err)
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return st, fmt.Errorf("broker: reading a node's state in %s: %w", dir, err)
	}
	return st, nil
}

// readOurs reads a file of a node's folder, if nobody else can have written it: we signal
// the processes that it names, and log in where it says.
func readOurs(path string) ([]byte, error) {
	if err := believe(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// write replaces the state file.
func (s state) write(dir string) error {
	if err := writeJSON(filepath.Join(dir, stateFileName), s); err != nil {
		return fmt.Errorf("broker: writing a node's state: %w", err)
	}
	return nil
}

// writeJSON replaces a file in one step, so that a reader, or a power cut, finds the old
// or the new one. After an error the old one is there, and nothing else.
func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	replacement := path + newSuffix
	if err := os.Remove(replacement); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(replacement, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(data, '\n'))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(replacement, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(replacement))
	}
	return nil
}

// randomHex returns n random bytes in hexadecimal, which need no quoting in a URL, a
// shell or rabbitmq.conf.
func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: see its documentation
	return hex.EncodeToString(b)
}
