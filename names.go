package thump

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// nameMost is how many bytes a name may have: what a short string of AMQP 0-9-1
// holds, which RabbitMQ's stream protocol keeps to.
const nameMost = 255

// checkNewName refuses a name for something that is to be made, before it is sent: what
// names, for the error, what the name is of.
func checkNewName(what, name string) error {
	if err := checkNoURL("the name of a "+what, name); err != nil {
		return err
	}
	if err := checkName(what, name); err != nil {
		return err
	}
	return checkText("the name of a "+what, name)
}

// checkNoURL refuses a broker's URL for a name: everybody who lists names would read
// the password. The error does not repeat it.
func checkNoURL(what, name string) error {
	for _, s := range schemes() {
		if begin := s.name + "://"; len(name) >= len(begin) && strings.EqualFold(name[:len(begin)], begin) {
			return fmt.Errorf("%s is a URL that begins with %s: where to connect is in Config.URLs", what, begin)
		}
	}
	return nil
}

// unfit is err, which says why a text can't be sent, and repeats it: for a URL, which must
// not be repeated, the error of checkNoURL instead.
func unfit(what, text string, err error) error {
	if isURL := checkNoURL(what, text); isURL != nil {
		return isURL
	}
	return err
}

// checkName refuses a name that nothing on a broker has, before it is sent. What others
// have made may have a NUL in its name.
func checkName(what, name string) error {
	if name == "" {
		return fmt.Errorf("a %s needs a name", what)
	}
	return checkFound("the name of a "+what, name)
}

// checkText is checkNewName for what may be empty, and for what is no name: what says
// what it is. A NUL is accepted by RabbitMQ, and is no use in any tool.
func checkText(what, text string) error {
	if err := checkFound(what, text); err != nil {
		return err
	}
	if strings.ContainsRune(text, 0) {
		return unfit(what, text, fmt.Errorf("%s contains a NUL: %q", what, text))
	}
	return nil
}

// checkFound is checkName for what may be empty: what says what it is.
//
// RabbitMQ takes CR and LF out of a name when it declares, and nowhere else: "q\n" is
// declared as "q", and nothing finds it again. A name that is not UTF-8, or a longer one,
// ends the connection.
func checkFound(what, text string) error {
	if err := checkKey(what, text); err != nil {
		return err
	}
	switch {
	case strings.ContainsAny(text, "\r\n"):
		return unfit(what, text, fmt.Errorf("%s contains a line break: %q", what, text))
	case !utf8.ValidString(text):
		return unfit(what, text, fmt.Errorf("%s is not UTF-8: %q", what, text))
	default:
		return nil
	}
}

// checkKey is checkText for a routing key, which RabbitMQ takes as it is: any bytes.
func checkKey(what, key string) error {
	if len(key) > nameMost {
		return unfit(what, key, fmt.Errorf("%s is %d bytes long, and at most %d are allowed: it begins %.40q", what, len(key), nameMost, key))
	}
	return nil
}

// checkBindingKey is checkKey for that of a binding, which ends the connection if it is
// not UTF-8.
func checkBindingKey(what, key string) error {
	if err := checkKey(what, key); err != nil {
		return err
	}
	if !utf8.ValidString(key) {
		return unfit(what, key, fmt.Errorf("%s is not UTF-8: %q", what, key))
	}
	return nil
}

// folderMost is the longest name of a folder that file systems take, in bytes.
const folderMost = 255

// checkStreamName is checkNewName for a stream that is to be declared in vhost. The
// broker keeps it in a folder vhost_name_timestamp (rabbit_stream_queue:stream_name).
// A stream whose folder can't be made is declared without an error, never has a
// leader, and keeps a 4.3 node busy until it is restarted.
//
// For what is not a letter or a digit the folder has one byte: for each byte of the
// name with RabbitMQ 3.10, and since then for each character. The smaller limit is
// taken.
func checkStreamName(vhost, name string) error {
	if err := checkNewName("stream", name); err != nil {
		return err
	}
	const around = len("_") + len("_1700000000000000000")
	if most := folderMost - around - len(vhost); len(name) > most {
		return fmt.Errorf("the name of a stream is %d bytes long, and in vhost %q at most %d fit the name of its folder: it begins %.40q", len(name), vhost, most, name)
	}
	return nil
}
