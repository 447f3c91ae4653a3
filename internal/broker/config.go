package broker

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// layout names a node's folders as the node itself sees them: inside its chroot.
type layout struct{ dir string }

func (l layout) conf(name string) string { return path.Join(l.dir, confDirName, name) }
func (l layout) data() string            { return path.Join(l.dir, dataDirName) }
func (l layout) log(name string) string  { return path.Join(l.dir, logDirName, name) }

// rabbitmqConf is the text of rabbitmq.conf. Naming a default user keeps
// RabbitMQ from making guest/guest.
func rabbitmqConf(st state, inChroot bool, extra string) string {
	var b strings.Builder
	line := func(key string, value any) { fmt.Fprintf(&b, "%s = %v\n", key, value) }
	line("listeners.tcp.1", loopback+":"+strconv.Itoa(st.Ports.AMQP))
	line("stream.listeners.tcp.1", loopback+":"+strconv.Itoa(st.Ports.Stream))
	// What a stream client is told to connect to; else it is the host's name.
	line("stream.advertised_host", loopback)
	line("stream.advertised_port", st.Ports.Stream)
	line("management.tcp.ip", loopback)
	line("management.tcp.port", st.Ports.Management)
	line("default_user", st.User)
	line("default_pass", st.Password)
	line("default_user_tags.administrator", true)
	line("log.console", false)
	line("log.file.level", "info")
	line("log.file.rotation.size", 10<<20)
	line("log.file.rotation.count", 3)
	if inChroot {
		// The tree has no /proc, where RabbitMQ would read how much memory there
		// is and how much it uses.
		line("vm_memory_calculation_strategy", "erlang")
		if total := memoryTotalBytes(); total > 0 {
			line("total_memory_available_override_value", total)
		}
	}
	if extra != "" {
		b.WriteString(strings.TrimRight(extra, "\n") + "\n")
	}
	return b.String()
}

// enabledPlugins is the text of the enabled_plugins file, an Erlang term.
func enabledPlugins(extra []string) string {
	plugins := append([]string{"rabbitmq_management", "rabbitmq_stream"}, extra...)
	return "[" + strings.Join(plugins, ",") + "].\n"
}

// environment is the whole environment of the node: nothing is inherited but
// PATH, so that no RABBITMQ_ or ERL_ variable of the user changes it.
func environment(st state, l layout) []string {
	name, _, _ := strings.Cut(st.Name, "@")
	return append(erlangEnvironment(st, l),
		"RABBITMQ_MNESIA_BASE="+l.data(),
		"RABBITMQ_MNESIA_DIR="+path.Join(l.data(), name),
		"RABBITMQ_LOG_BASE="+l.log(""),
		"RABBITMQ_LOGS="+l.log("rabbit.log"),
		"RABBITMQ_PID_FILE="+path.Join(l.data(), "pid"),
		"RABBITMQ_CONFIG_FILE="+l.conf("rabbitmq.conf"),
		// These don't exist. Unset, the ones in /etc/rabbitmq would be read.
		"RABBITMQ_CONFIG_FILES="+l.conf("conf.d"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+l.conf("advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+l.conf("enabled_plugins"),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(st.Ports.Distribution),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+distributionOnLoopback+" +B i",
		"ERL_CRASH_DUMP_SECONDS=0", // none: it is as large as the node's memory
		// Makes the script become the Erlang machine instead of its parent, so
		// that the pid we know is the one to signal.
		"RUNNING_UNDER_SYSTEMD=true",
	)
}

const distributionOnLoopback = "-kernel inet_dist_use_interface {127,0,0,1}"

// erlangEnvironment is what the server, rabbitmqctl and epmd have in common.
func erlangEnvironment(st state, l layout) []string {
	return []string{
		"PATH=" + searchPath(st.Chroot),
		"HOME=" + l.conf(""), // where Erlang looks for the cookie
		"LANG=C.UTF-8",
		"RABBITMQ_CONF_ENV_FILE=" + l.conf("rabbitmq-env.conf"), // doesn't exist either
		"RABBITMQ_NODENAME=" + st.Name,
		"RABBITMQ_USE_LONGNAME=true",
		"ERL_EPMD_ADDRESS=" + loopback,
		"ERL_EPMD_PORT=" + strconv.Itoa(st.Ports.EPMD),
	}
}

// searchPath is the PATH to find erl and epmd on.
func searchPath(chroot string) string {
	const system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if chroot != "" {
		return system
	}
	folders := []string{os.Getenv("PATH"), system}
	if runtime.GOOS == "darwin" {
		// Homebrew doesn't link every Erlang that its RabbitMQ is built for.
		for _, prefix := range []string{"/opt/homebrew", "/usr/local"} {
			erlangs, _ := filepath.Glob(prefix + "/opt/erlang*/bin")
			folders = append(append(folders, prefix+"/bin"), erlangs...)
		}
	}
	return strings.Join(folders, ":")
}
