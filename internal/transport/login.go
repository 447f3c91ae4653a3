package transport

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
)

// recognisable is how many bytes tell what protocol a server speaks. No frame is
// shorter; a TLS alert is.
const recognisable = 8

// Login is a connection that logs in: a socket that is written to and read from
// step by step, before the connection's goroutines exist, so that they know no
// half-open state. It is for one goroutine.
type Login struct {
	// Doing is what is being done, for the error should it fail.
	Doing string

	address    string
	net        net.Conn
	settings   Settings
	onLost     func(why error)
	buf        *Buffer
	start, end int  // bytes of buf that are read and not skipped
	recognised bool // the server speaks our protocol
}

// Write sends bytes, and leaves it to the Read that follows to fail where this
// has: a server that hangs up often says why before it does, in a TLS alert or a
// frame, and that is the better error.
func (l *Login) Write(b []byte) { _, _ = l.net.Write(b) }

// Unread is the bytes that were read and not skipped, once the server is
// recognised by the first of them. They are valid until the next Read. What is
// left of them after the login is the connection's.
func (l *Login) Unread() []byte {
	if !l.recognised {
		return nil
	}
	return l.buf.Bytes[l.start:l.end]
}

// Skip leaves out the first n bytes of Unread, which were handled.
func (l *Login) Skip(n int) { l.start += n }

// Read waits for more bytes. The frames of a login are few and small: a server
// that sends more than a read buffer holds is not logging us in.
func (l *Login) Read() error {
	if l.end == len(l.buf.Bytes) && !l.grow() {
		return fmt.Errorf("protocol violation: more than %d bytes sent during login", l.end)
	}
	n, err := l.net.Read(l.buf.Bytes[l.end:])
	l.end += n
	if !l.recognised && (l.end >= recognisable || n == 0 && l.end > 0) {
		if err := l.settings.Recognise(l.buf.Bytes[:l.end]); err != nil {
			return err
		}
		l.recognised = true
	}
	switch {
	case n > 0:
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("the server closed the connection")
	default:
		return err
	}
}

// grow doubles the buffer, up to a full one.
func (l *Login) grow() bool {
	size := min(2*len(l.buf.Bytes), l.settings.ReadBuffer)
	if l.end == size {
		return false
	}
	larger := NewBuffer(size)
	copy(larger.Bytes, l.buf.Bytes)
	l.buf = larger
	return true
}

// Sends notes, for the error should the login fail, that it takes a frame larger than
// the most that RabbitMQ usually reads before a login (initial_frame_max): it hangs
// up on one, and does not say why. Operators can allow more, so it is sent anyway.
func (l *Login) Sends(size, most int, cfg *Config) {
	if size > most {
		l.Doing += fmt.Sprintf(" (in a frame of %d bytes, and unless its initial_frame_max is higher this broker takes at most %d: the password or token has %d bytes, the connection's name %d)",
			size, most, len(cfg.Password), len(cfg.Name))
	}
}

// MechanismError says that the broker does not let anybody log in in the way that is wanted.
type MechanismError struct {
	Offered string // the mechanisms of the broker, quoted
	Wanted  string
}

// Error names both.
func (e *MechanismError) Error() string {
	return fmt.Sprintf("the broker offers the mechanisms %s, not %s", e.Offered, e.Wanted)
}

// SASLResponse is what a mechanism sends to log in: PLAIN (RFC 4616) the user and
// the password, EXTERNAL (RFC 4422) the user alone.
func SASLResponse(mechanism, user, password string) string {
	if mechanism == "EXTERNAL" {
		return user
	}
	return "\x00" + user + "\x00" + password
}

// Agreed is the smaller of two limits. The server's may be 0, which is no limit.
func Agreed[T cmp.Ordered](ours, theirs T) T {
	var none T
	if theirs == none {
		return ours
	}
	return min(ours, theirs)
}
