package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// exchange is an exchange that send publishes to: one that exists or, with --to-original,
// the one that each record names.
type exchange struct{ load.Exchange }

func (*exchange) window() int                                 { return windowOfQueue }
func (*exchange) blocksSilently() bool                        { return false }
func (*exchange) checkUnused() error                          { return nil }
func (*exchange) watched() watched                            { return watched{} }
func (*exchange) remove(context.Context, *thump.Client) error { return nil }

func (*exchange) checkDisk(*connection, *load.SendConfig, *result.Settings) error { return nil }

// find is for a command that receives, which none does from an exchange.
func (e *exchange) find(context.Context, *thump.Client, *result.Settings) error {
	return fmt.Errorf("%v keeps nothing", e)
}

func (e *exchange) describe(s *result.Settings) {
	s.Queue, s.Kind = e.Name, result.Exchange
	if e.Name == "" {
		s.Queue = "the default one, unless a record names another"
	}
}

// declare refuses an exchange that is not there: without a kind and bindings of the user's
// a new one would drop everything.
func (e *exchange) declare(ctx context.Context, client *thump.Client, _ *result.Settings) error {
	if e.Name == "" {
		return nil
	}
	err := client.InspectExchange(ctx, e.Name)
	if thump.IsNotFound(err) {
		return fmt.Errorf("the exchange %q does not exist", e.Name)
	}
	return err
}

func (e *exchange) misused(given func(string) bool) error {
	var wrong error
	if given("kind") {
		wrong = errors.New("--kind is for a queue, and this is an exchange")
	}
	return faults(wrong, (*queue)(nil).misused(given))
}
