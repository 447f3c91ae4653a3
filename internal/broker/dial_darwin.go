package broker

import (
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"
)

// acceptedBy returns the user whose process holds the other end of a connection within
// this machine. lsof shows those of other users to root only: to others such a connection
// is never accepted.
func acceptedBy(conn net.Conn) (accepted bool, uid int, err error) {
	ours := conn.LocalAddr().(*net.TCPAddr)
	output, err := exec.Command("/usr/sbin/lsof", "-nPw", "-F", "un",
		"-i", "tcp@"+ours.IP.String()+":"+strconv.Itoa(ours.Port)).Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) { // it fails where it finds nothing
		return false, 0, err
	}
	// A line for each process begins with u, and one for each of its sockets with n.
	for line := range strings.Lines(string(output)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "u"):
			if uid, err = strconv.Atoi(line[1:]); err != nil {
				return false, 0, err
			}
		case line == "n"+conn.RemoteAddr().String()+"->"+ours.String():
			return true, uid, nil
		}
	}
	return false, 0, nil
}
