package broker

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// layout names a node's folders as the node sees them: inside its chroot.
type layout struct{ dir string }

func (l layout) conf(name string) string { return path.Join(l.dir, confDirName, name) }
func (l layout) data() string            { return path.Join(l.dir, dataDirName) }
func (l layout) log(name string) string  { return path.Join(l.dir, logDirName, name) }

// rabbitmqConf is the text of rabbitmq.conf. Because it names definitions, RabbitMQ does
// not make guest/guest.
func rabbitmqConf(st state, l layout) string {
	var b strings.Builder
	line := func(key string, value any) { fmt.Fprintf(&b, "%s = %v\n", key, value) }
	line("listeners.tcp.1", loopback+":"+strconv.Itoa(st.Ports.AMQP))
	line("stream.listeners.tcp.1", loopback+":"+strconv.Itoa(st.Ports.Stream))
	// Where stream clients are told to connect; the default is the host's name.
	line("stream.advertised_host", loopback)
	line("stream.advertised_port", st.Ports.Stream)
	line("management.tcp.ip", loopback)
	line("management.tcp.port", st.Ports.Management)
	line("load_definitions", l.conf("definitions.json"))
	line("log.console", false)
	line("log.file.level", "info")
	line("log.file.rotation.size", 10<<20)
	line("log.file.rotation.count", 3)
	if st.Chroot != "" {
		// The tree has no /proc, from which RabbitMQ would learn how much memory
		// the machine has and how much it uses itself.
		line("vm_memory_calculation_strategy", "erlang")
		if total := memoryTotalBytes(); total > 0 {
			line("total_memory_available_override_value", total)
		}
	}
	if st.ExtraConfig != "" {
		b.WriteString(strings.TrimRight(st.ExtraConfig, "\n") + "\n")
	}
	return b.String()
}

// definitions is the text of definitions.json, which RabbitMQ imports each time it starts,
// before it listens: the node's user, with the password of st whatever it had before. A
// default_user of rabbitmq.conf would keep the password of the first start. What else a new
// node needs is there until it has served once: then it is the user's, who may have
// changed it.
func definitions(st state) (string, error) {
	type object map[string]any
	salt := make([]byte, 4)
	rand.Read(salt) // never fails: see its documentation
	hash := sha256.Sum256(append(slices.Clone(salt), st.Password...))
	all := object{"users": []object{{
		"name":              st.User,
		"password_hash":     append(salt, hash[:]...), // in base64, as RabbitMQ wants it
		"hashing_algorithm": "rabbit_password_hashing_sha256",
		"tags":              "administrator",
	}}}
	if st.Version == "" {
		all["vhosts"] = []object{{"name": "/"}}
		all["permissions"] = []object{{
			"user": st.User, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*",
		}}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return "", fmt.Errorf("broker: writing the node's settings: %w", err)
	}
	return string(text) + "\n", nil
}

// enabledPlugins is the text of the enabled_plugins file, an Erlang term.
func enabledPlugins(extra []string) string {
	plugins := append([]string{"rabbitmq_management", "rabbitmq_stream"}, extra...)
	return "[" + strings.Join(plugins, ",") + "].\n"
}

// environment is the node's whole environment. It inherits only PATH, so no RABBITMQ_ or
// ERL_ variable of the user has an effect.
func environment(st state, l layout) []string {
	name, _, _ := strings.Cut(st.Name, "@")
	return append(erlangEnvironment(st, l),
		"RABBITMQ_MNESIA_BASE="+l.data(),
		"RABBITMQ_MNESIA_DIR="+path.Join(l.data(), name),
		"RABBITMQ_LOG_BASE="+l.log(""),
		"RABBITMQ_LOGS="+l.log("rabbit.log"),
		"RABBITMQ_PID_FILE="+path.Join(l.data(), "pid"),
		"RABBITMQ_CONFIG_FILE="+l.conf("rabbitmq.conf"),
		// These files don't exist. Without these variables RabbitMQ would read
		// those in /etc/rabbitmq.
		"RABBITMQ_CONFIG_FILES="+l.conf("conf.d"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+l.conf("advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+l.conf("enabled_plugins"),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(st.Ports.Distribution),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+distributionOnLoopback+" +B i",
		"ERL_CRASH_DUMP_SECONDS=0", // no crash dump: it is as large as the node's memory
		// With this the script becomes the Erlang machine instead of its parent, so
		// the pid that we know is the one to signal.
		"RUNNING_UNDER_SYSTEMD=true",
	)
}

const distributionOnLoopback = "-kernel inet_dist_use_interface {127,0,0,1}"

// erlangEnvironment is the environment that the server, rabbitmqctl and epmd share.
func erlangEnvironment(st state, l layout) []string {
	return []string{
		"PATH=" + searchPath(st.Chroot),
		"HOME=" + l.conf(""), // Erlang looks for the cookie there
		"LANG=C.UTF-8",
		"RABBITMQ_CONF_ENV_FILE=" + l.conf("rabbitmq-env.conf"), // does not exist either
		"RABBITMQ_NODENAME=" + st.Name,
		"RABBITMQ_USE_LONGNAME=true",
		"ERL_EPMD_ADDRESS=" + loopback,
		"ERL_EPMD_PORT=" + strconv.Itoa(st.Ports.EPMD),
		// An Erlang machine with a name starts epmd, as a daemon of unknown pid. It
		// ends at once where ours answers, and stays where ours is gone already: a
		// cancelled start would leave it running.
		"ERL_AFLAGS=-start_epmd false",
	}
}

// searchPath is the PATH on which erl and epmd are looked up.
func searchPath(chroot string) string {
	const system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if chroot != "" {
		return system
	}
	folders := []string{os.Getenv("PATH"), system}
	if runtime.GOOS == "darwin" {
		// Homebrew does not link every Erlang that its RabbitMQ needs.
		for _, prefix := range []string{"/opt/homebrew", "/usr/local"} {
			erlangs, _ := filepath.Glob(prefix + "/opt/erlang*/bin")
			folders = append(append(folders, prefix+"/bin"), erlangs...)
		}
	}
	return strings.Join(folders, ":")
}
