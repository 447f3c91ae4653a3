package broker

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// NotFoundError says that no RabbitMQ was found.
type NotFoundError struct {
	Server string // Options.Server; empty if the usual places were searched
	Hint   string // how to install RabbitMQ on this system, one line
}

// Error is one line, which ends with how to install RabbitMQ.
func (e *NotFoundError) Error() string {
	if e.Server != "" {
		return "broker: no rabbitmq-server in " + e.Server + "; " + e.Hint
	}
	return "broker: RabbitMQ is not installed; " + e.Hint
}

// findServer returns the rabbitmq-server script to run, as seen inside chroot.
func findServer(server, chroot string) (string, error) {
	candidates := installed(chroot)
	switch {
	case server == "" && chroot == "":
		if onPath, err := exec.LookPath("rabbitmq-server"); err == nil {
			candidates = append([]string{onPath}, candidates...)
		}
	case server != "" && isWrapper(filepath.Join(chroot, server)):
		candidates = append([]string{server}, candidates...)
	case server != "":
		candidates = []string{server, filepath.Join(server, "sbin", "rabbitmq-server")}
	}
	for _, candidate := range candidates {
		if script := realScript(candidate, chroot); script != "" {
			return script, nil
		}
	}
	return "", &NotFoundError{Server: server, Hint: installHint()}
}

// installed lists the scripts in the places where packages and people put RabbitMQ,
// those of packages first.
func installed(chroot string) []string {
	var found []string
	for _, pattern := range []string{
		"/usr/lib/rabbitmq/bin/rabbitmq-server", // Debian, Fedora
		"/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
		"/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server", // Homebrew
		"/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
		"/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin/rabbitmq-server",
		"/opt/rabbitmq*/sbin/rabbitmq-server", // the generic-unix archive
		"/usr/local/rabbitmq*/sbin/rabbitmq-server",
		"/usr/local/lib/rabbitmq*/sbin/rabbitmq-server",
	} {
		paths, _ := filepath.Glob(filepath.Join(chroot, pattern))
		for _, path := range paths {
			found = append(found, insideChroot(path, chroot))
		}
	}
	return found
}

// realScript returns RabbitMQ's own start script for a path that may be a link to it,
// or "" if there is none.
func realScript(script, chroot string) string {
	if chroot == "" {
		if resolved, err := filepath.EvalSymlinks(script); err == nil {
			script = resolved
		}
	}
	outside := filepath.Join(chroot, script)
	if !isFile(outside) || isWrapper(outside) {
		return ""
	}
	return script
}

// isWrapper tells a package's wrapper, such as Debian's /usr/sbin/rabbitmq-server, from
// RabbitMQ's own script, which is named rabbitmq-server and is beside rabbitmq-env. A
// wrapper would change the user, the folder and the log file.
func isWrapper(path string) bool {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	isServer := filepath.Base(path) == "rabbitmq-server" && isFile(filepath.Join(filepath.Dir(path), "rabbitmq-env"))
	return isFile(path) && !isServer
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// insideChroot converts a path of ours to the path that a process in the chroot has for
// the same file. Without a chroot the two are equal.
func insideChroot(path, chroot string) string {
	if chroot == "" {
		return path
	}
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, filepath.Clean(chroot)), "/")
}

// installHint says in one line how to install RabbitMQ on this system.
func installHint() string {
	if runtime.GOOS == "darwin" {
		return "install it with: brew install rabbitmq"
	}
	release, err := os.Open("/etc/os-release")
	if err != nil {
		return hintFor("", "")
	}
	defer release.Close()
	values := map[string]string{}
	for lines := bufio.NewScanner(release); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		values[key] = strings.Trim(value, `"'`)
	}
	return hintFor(values["ID"], values["ID_LIKE"])
}

// hintFor says how to install RabbitMQ on a Linux system. id and like are ID and ID_LIKE
// of its /etc/os-release.
func hintFor(id, like string) string {
	for _, family := range append([]string{id}, strings.Fields(like)...) {
		switch family {
		case "debian", "ubuntu":
			return "install it with: sudo apt-get install rabbitmq-server"
		case "fedora", "rhel", "centos":
			return "install it with: sudo dnf install rabbitmq-server"
		case "suse", "opensuse":
			return "install it with: sudo zypper install rabbitmq-server"
		case "arch":
			return "install it with: sudo pacman -S rabbitmq"
		case "alpine":
			return "install it with: sudo apk add rabbitmq-server"
		}
	}
	return "install it as https://www.rabbitmq.com/docs/download says"
}
