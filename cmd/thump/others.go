package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/internal/dump"
)

// othersFlag is what becomes of the messages of a queue that --filter is not true of.
type othersFlag string

const (
	othersLeave   othersFlag = "leave"
	othersDiscard othersFlag = "discard"
)

func (f *othersFlag) String() string { return string(*f) }
func (f *othersFlag) Type() string   { return "leave|discard" }

func (f *othersFlag) Set(text string) error {
	switch othersFlag(text) {
	case othersLeave, othersDiscard:
		*f = othersFlag(text)
		return nil
	default:
		return errors.New("must be leave or discard")
	}
}

// selection is which messages receive is for; nil for all.
func (cfg *config) selection(ctx context.Context, client *thump.Client, u *ui) (*load.Selection, error) {
	f := &cfg.receipt
	if f.filter.filter == nil {
		return nil, nil //nolint:nilnil // which stands for all
	}
	s := &load.Selection{Wanted: f.filter.filter.Match}
	if cfg.streamName+cfg.superStream != "" || f.others == othersDiscard {
		return s, nil
	}
	s.Hold = true
	d, err := dump.Describe(ctx, client, cfg.name)
	if err != nil {
		return nil, err
	}
	if err := checkStays(ctx, client, cfg.name); err != nil {
		return nil, err
	}
	u.notef("What the filter is not true of is held until the end, and then goes back to the queue, marked as redelivered%s. RabbitMQ takes back what is unacked for 30 minutes, and it comes again.\n", countsText(client.Server(), d))
	return s, nil
}

// countsText says that what goes back counts as delivered, where that is so.
func countsText(server thump.ServerInfo, d dump.Definition) string {
	if d.Kind == thump.Classic || !dump.Counts(server) {
		return ""
	}
	text := "; a quorum queue of this broker counts a delivery of each" + limitText(server, d)
	if d.Kind == thump.Quorum && deliveryLimit(server, d) == 0 {
		text += ", and puts them at its end where it has no delivery limit"
	}
	return text
}

// othersText says what became of the other messages.
func (cfg *config) othersText(s *load.Selection) string {
	switch {
	case s == nil || s.Others() == 0:
		return ""
	case s.Hold:
		return fmt.Sprintf("     %s went back, of which the filter is not true\n", messages(s.Others()))
	case cfg.streamName+cfg.superStream != "":
		return fmt.Sprintf("     %s were passed over, of which the filter is not true\n", messages(s.Others()))
	default:
		return fmt.Sprintf("     %s were thrown away, of which the filter is not true\n", messages(s.Others()))
	}
}
