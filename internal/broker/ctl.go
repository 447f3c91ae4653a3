//go:build linux || darwin

package broker

import (
	"context"
	"fmt"
	"os/exec"
	"path"
	"strings"
	"syscall"
)

// Ctl runs rabbitmqctl for the node and returns its output. That takes a second or two,
// because rabbitmqctl starts an Erlang machine. An error contains the output.
func (n *Node) Ctl(ctx context.Context, args ...string) (string, error) {
	account, err := serverAccount(n.state.Chroot)
	if err != nil {
		return "", err
	}
	l := layout{insideChroot(n.Dir, n.state.Chroot)}
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{
		"-c", `umask 077; exec "$@"`, "sh",
		path.Join(path.Dir(n.state.Script), "rabbitmqctl"),
	}, args...)...)
	cmd.Dir = l.data()
	cmd.Env = append(erlangEnvironment(n.state, l), "RABBITMQ_CTL_ERL_ARGS="+distributionOnLoopback)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Chroot: n.state.Chroot, Credential: account.credential()}
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("broker: running rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return string(output), nil
}
