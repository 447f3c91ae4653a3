package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// toFlags say where the target is, where that is another broker or vhost than the source.
type toFlags urls

func (f *toFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "to-url", "", "the target's broker, amqp://user:password@host:port/vhost; other users of this machine see it in the process list (default: the source's)")
	flags.StringVar(&f.file, "to-url-file", "", `read the target's URL from this file, as --url-file does`)
	flags.StringVar(&f.command, "to-url-command", "", "let the shell run this, and read the target's URL from its output")
	flags.StringVar(&f.streamURL, "to-stream-url", "", "the target's URL for streams")
}

// check says what is wrong with the flags that were given.
func (f *toFlags) check(given func(flag string) bool) error {
	for _, flag := range []struct{ name, value string }{
		{"to-url", f.url}, {"to-url-file", f.file}, {"to-url-command", f.command}, {"to-stream-url", f.streamURL},
	} {
		if given(flag.name) && flag.value == "" {
			return fmt.Errorf("--%s is empty", flag.name)
		}
	}
	if (*urls)(f).sources() > 1 {
		return errors.New("--to-url, --to-url-file and --to-url-command can't go together: each says where the target is")
	}
	return nil
}

// given reports whether a flag names a target of its own.
func (f *toFlags) given() bool { return *f != toFlags{} }

// connect connects to the target.
func (f *toFlags) connect(ctx context.Context, u *ui, how manner) (*connection, error) {
	t, _, err := connectFlags(*f).named(ctx, u)
	if err != nil {
		return nil, err
	}
	t.node = privateNode(t.url)
	return t.dial(ctx, u, how)
}
