package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// askTimeout bounds a question that only makes an error clearer. Streams may have an
// address that nobody can reach from here.
const askTimeout = 3 * time.Second

// called is how this command names something else of the same name:
// "thump receive --stream events".
func (cfg *config) called(what string) string {
	switch {
	case what == "super stream":
		return fmt.Sprintf("%s --super-stream %s", cfg.command, cfg.name)
	case what == "stream" && cfg.flags.Lookup("stream") == nil:
		return fmt.Sprintf("%s --kind stream --queue %s", cfg.command, cfg.name)
	case what == "stream":
		return fmt.Sprintf("%s --stream %s", cfg.command, cfg.name)
	case cfg.flags.Lookup("queue") != nil:
		return fmt.Sprintf("%s --queue %s", cfg.command, cfg.name)
	default:
		return fmt.Sprintf("%s %s", cfg.command, cfg.name)
	}
}

// isAnother is the error for a name that stands for something else than what the
// command was to use.
func (cfg *config) isAnother(what, wanted string) error {
	return fmt.Errorf("%q is a %s, not a %s: use %s", cfg.name, what, wanted, cfg.called(what))
}

// refuseStream refuses a queue that is a stream: over AMQP, a stream keeps what was
// read, and begins with what comes next. differs is the broker's answer to its
// declaration as a queue of another kind; it names only one difference.
func (cfg *config) refuseStream(ctx context.Context, client *thump.Client, differs *thump.BrokerError) error {
	if strings.Contains(differs.Text, "'x-queue-type'") {
		if strings.Contains(differs.Text, "'stream'") {
			return cfg.isAnother("stream", "queue")
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := client.InspectStream(ctx, cfg.name); err == nil {
		return cfg.isAnother("stream", "queue")
	}
	return nil
}

// refuseExchange refuses to make a queue of a name that the user gave, and that an
// exchange or a super stream has: most likely that is what was meant. --kind or
// --transient says that it was not, and so does an exchange with a name of its own.
func (cfg *config) refuseExchange(ctx context.Context, client *thump.Client, name string) error {
	if cfg.routing.exchange != "" || cfg.queueName == queueDefault || cfg.given("kind") || cfg.given("transient") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if client.InspectExchange(ctx, name) != nil {
		return nil
	}
	if err := cfg.refuseSuperStream(ctx, client, "queue"); err != nil {
		return err
	}
	return fmt.Errorf("%q is an exchange, and no queue has that name: %s is for queues and streams; with --kind classic it makes a queue %[1]q",
		name, cfg.command)
}

// refuseSuperStream refuses a name that a super stream has.
func (cfg *config) refuseSuperStream(ctx context.Context, client *thump.Client, wanted string) error {
	if isSuperStream(ctx, client, cfg.name) {
		return cfg.isAnother("super stream", wanted)
	}
	return nil
}

// isSuperStream reports whether a super stream has that name, as far as can be said soon.
func isSuperStream(ctx context.Context, client *thump.Client, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := client.Partitions(ctx, name)
	return err == nil
}

// noStream is the error for a stream or super stream that does not exist: that what
// has its name is something else, where it is.
func (cfg *config) noStream(ctx context.Context, client *thump.Client, wanted string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if wanted == "stream" {
		if err := cfg.refuseSuperStream(ctx, client, wanted); err != nil {
			return err
		}
	} else if _, err := client.InspectStream(ctx, cfg.name); err == nil {
		return cfg.isAnother("stream", wanted)
	}
	if _, err := client.InspectQueue(ctx, cfg.name); err == nil {
		return cfg.isAnother("queue", wanted)
	}
	if wanted == "super stream" {
		return fmt.Errorf("the super stream %q does not exist; --partitions N creates it", cfg.name)
	}
	return fmt.Errorf("the stream %q does not exist", cfg.name)
}
