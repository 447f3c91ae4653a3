package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/secretfile"
)

const (
	// The environment's variables that say where to connect.
	urlVariable        = "THUMP_URL"
	urlFileVariable    = "THUMP_URL_FILE"
	urlCommandVariable = "THUMP_URL_COMMAND"
	streamURLVariable  = "THUMP_STREAM_URL"
	managementVariable = "THUMP_MANAGEMENT_URL"
	atVariable         = "THUMP_AT"
	// urlDefault is where RabbitMQ usually is.
	urlDefault = "amqp://guest:guest@localhost:5672"

	urlFileMost = 64 << 10 // bytes
)

// urls are where to connect: a URL, or what says it, and perhaps another one for streams.
// At most one of the first four is set.
type urls struct {
	at        string // a place of the user's file
	url       string
	file      string // a file, or "-" for standard input
	command   string // for the shell
	streamURL string // "" if there is none
}

// connectFlags say where to connect.
type connectFlags urls

func (f *connectFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.at, "at", "", "connect to the place of this name in thump/config.toml in your folder for configurations, or in THUMP_CONFIG (default: THUMP_AT)")
	flags.StringVar(&f.url, "url", "", "connect to amqp://user:password@host:port/vhost, or rabbitmq-stream://...; other users of this machine see it in the process list (default: THUMP_URL, else the private broker, else localhost)")
	flags.StringVar(&f.file, "url-file", "", `read the URL from this file, which must be closed to others if it is yours, "-" for standard input; a second line may hold the URL for streams (default: THUMP_URL_FILE)`)
	flags.StringVar(&f.command, "url-command", "", "let the shell run this, and read the URL from its output as from a file (default: THUMP_URL_COMMAND)")
	flags.StringVar(&f.streamURL, "stream-url", "", "the URL for streams, rabbitmq-stream://user:password@host:port/vhost (default: THUMP_STREAM_URL where no flag names a broker, else the broker's host at port 5552)")
}

// check says what is wrong with the flags that were given.
func (f *connectFlags) check(given func(flag string) bool) error {
	for _, flag := range []struct{ name, value string }{
		{"at", f.at}, {"url", f.url}, {"url-file", f.file}, {"url-command", f.command}, {"stream-url", f.streamURL},
	} {
		if given(flag.name) && flag.value == "" {
			// Most likely an empty variable in a script. It must not mean any broker
			// that is near.
			return fmt.Errorf("--%s is empty", flag.name)
		}
	}
	if (*urls)(f).sources() > 1 {
		return errors.New("--at, --url, --url-file and --url-command can't go together: each says where to connect")
	}
	return nil
}

// given reports whether a flag says where to connect.
func (f *connectFlags) given() bool { return *f != connectFlags{} }

// fromStdin reports whether the URL is to be read from standard input.
func (f *connectFlags) fromStdin() bool {
	return f.file == "-" || (*urls)(f).sources() == 0 && os.Getenv(urlFileVariable) == "-"
}

// sources is how many of at, url, file and command are set.
func (w *urls) sources() (n int) {
	for _, source := range []string{w.at, w.url, w.file, w.command} {
		if source != "" {
			n++
		}
	}
	return n
}

// named is where the flags, or the environment, say to connect. A URL for streams alone
// is enough. The environment's variables belong together: beside a flag that says where to
// connect, or a place, THUMP_STREAM_URL may be another broker's, and is ignored.
func (f connectFlags) named(ctx context.Context, u *ui) (t target, ok bool, err error) {
	where, management := urls(f), ""
	if where.sources() == 0 {
		where.at, where.url, where.file, where.command = os.Getenv(atVariable), os.Getenv(urlVariable), os.Getenv(urlFileVariable), os.Getenv(urlCommandVariable)
		if where.sources() > 1 {
			return target{}, false, usagef("more than one of %s, %s, %s and %s is set: each says where to connect", atVariable, urlVariable, urlFileVariable, urlCommandVariable)
		}
		if !f.given() {
			management = os.Getenv(managementVariable)
		}
		if where.streamURL == "" && where.at == "" {
			where.streamURL = os.Getenv(streamURLVariable)
		}
	}
	if where.at != "" {
		t, err = where.place(ctx, u)
		return t, err == nil, err
	}
	t = target{url: where.url, streamURL: where.streamURL, managementURL: management}
	from, read := "", func() ([]byte, error) { return nil, nil }
	switch {
	case where.file == "-":
		from, read = "standard input", func() ([]byte, error) { return u.readInput(urlFileMost) }
	case where.file != "":
		from, read = where.file, func() ([]byte, error) { return secretfile.Read(where.file) }
	case where.command != "":
		from, read = "what it printed", func() ([]byte, error) { return u.runShell(ctx, where.command) }
	}
	if from != "" {
		text, err := interruptibly(ctx, read)
		if err == nil {
			err = t.parse(string(text), from)
		}
		if err != nil {
			return target{}, false, fmt.Errorf("the URL's %s: %w", where.kind(), err)
		}
	}
	if t.url == "" {
		t.url, t.streamURL = t.streamURL, ""
	}
	return t, t.url != "", nil
}

// kind names the source that is set, for errors.
func (w *urls) kind() string {
	if w.command != "" {
		return "command"
	}
	return "file"
}

// errUnattended is why something is not done while a shell completes a word.
var errUnattended = errors.New("nobody waits for this")

// readInput reads standard input.
func (u *ui) readInput(most int64) ([]byte, error) {
	if u.unattended {
		return nil, errUnattended
	}
	return io.ReadAll(io.LimitReader(os.Stdin, most))
}

// runShell runs a command of the user's and returns what it writes. What it has to say it
// says on standard error.
func (u *ui) runShell(ctx context.Context, command string) ([]byte, error) {
	if u.unattended {
		return nil, errUnattended
	}
	cmd := shellCommand(ctx, command)
	cmd.Stderr = u.stderr
	return cmd.Output()
}

// parse takes the URLs from the text of a file, a line each: one, or one for AMQP and one
// for streams in any order. from is where the text comes from. No error repeats any of
// it.
func (t *target) parse(text, from string) error {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	switch {
	case len(lines) == 0:
		return fmt.Errorf("there is no URL in %s", from)
	case len(lines) == 1:
		t.url = lines[0]
		return nil
	case len(lines) > 2:
		return fmt.Errorf("there are %d lines in %s, and not one URL, or two of them of which one is for streams", len(lines), from)
	case t.streamURL != "":
		return fmt.Errorf("there are two URLs in %s, and the one for streams is given elsewhere as well", from)
	}
	t.url, t.streamURL = lines[0], lines[1]
	if strings.HasPrefix(t.url, "rabbitmq-stream") {
		t.url, t.streamURL = t.streamURL, t.url
	}
	return nil
}

// warnOfClearText tells the user, once, that passwords will go over the network
// unencrypted.
func (u *ui) warnOfClearText(endpoints ...thump.Endpoint) {
	for _, e := range endpoints {
		if !e.TLS && !e.Loopback() && !u.warned {
			u.warned = true
			u.errorf("thump: warning: the password and all data go to %s in clear; amqps:// and rabbitmq-stream+tls:// encrypt them\n", e.Host)
			return
		}
	}
}

// isURL reports whether a word that should be something else, such as a name, is a URL.
func isURL(word string) bool { return strings.Contains(word, "://") }

// misplaced is the error for what is a URL and should be something else: as a queue's name
// it would be declared, password and all. The error does not repeat it.
func misplaced(what string) error {
	return usagef("%s is a URL: did you mean --url, or %s in the environment?", what, urlVariable)
}

// checkURLs refuses a URL as the value of a flag that takes none.
func checkURLs(cmd *cobra.Command) error {
	var wrong error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "url", "stream-url", "url-command", "management-url", "to-url", "to-stream-url", "to-url-command":
		default:
			if wrong == nil && isURL(f.Value.String()) {
				wrong = misplaced("the value of --" + f.Name)
			}
		}
	})
	return wrong
}

// withoutURLs returns the text of an error without what follows :// in any of the words
// of the command line: there is a password in it, most likely, wherever it was put.
func withoutURLs(text string, words []string) string {
	for _, word := range words {
		if i := strings.Index(word, "://"); i >= 0 && i+len("://") < len(word) {
			rest := word[i:]
			quoted := strconv.Quote(rest)
			text = strings.ReplaceAll(text, rest, "://***")
			text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], "://***")
		}
	}
	return text
}
