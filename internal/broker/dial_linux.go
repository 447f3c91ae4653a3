package broker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// acceptedBy returns the user whose process holds the other end of a connection within
// this machine. It is not accepted as long as that end only waits in a listener's queue.
func acceptedBy(conn net.Conn) (accepted bool, uid int, err error) {
	ours, err := kernelAddress(conn.LocalAddr())
	if err != nil {
		return false, 0, err
	}
	theirs, err := kernelAddress(conn.RemoteAddr())
	if err != nil {
		return false, 0, err
	}
	sockets, err := os.Open("/proc/net/tcp")
	if err != nil {
		return false, 0, err
	}
	defer sockets.Close()
	const local, remote, user, inode = 1, 2, 7, 9 // fields of proc_net_tcp.txt in the kernel's documentation
	lines := bufio.NewScanner(sockets)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= inode || fields[local] != theirs || fields[remote] != ours {
			continue
		}
		if fields[inode] == "0" { // no process has it: its user is not known either
			return false, 0, nil
		}
		uid, err = strconv.Atoi(fields[user])
		return err == nil, uid, err
	}
	return false, 0, lines.Err()
}

// kernelAddress writes an address as /proc/net/tcp does: in hexadecimal, the four bytes of
// the host as one number in the machine's order.
func kernelAddress(address net.Addr) (string, error) {
	parsed, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return "", err
	}
	host := parsed.Addr().Unmap().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(host[:]), parsed.Port()), nil
}
