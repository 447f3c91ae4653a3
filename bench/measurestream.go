package main

import (
	"context"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/streamproto"
)

// measureStream is measure for a stream. A stream that is published to is new; one
// that is only consumed is shared, because consuming takes nothing out of it.
func (b *site) measureStream(ctx context.Context, p peer, s scenario, t task) (sample, error) {
	t.URL = b.streamURL
	if s.Sends {
		if err := b.client.DeclareStream(ctx, thump.StreamSpec{Name: t.Queue}); err != nil {
			return sample{}, err
		}
		defer b.deleteStream(ctx, t.Queue)
	} else {
		stream, err := b.backlog(ctx, s, t)
		if err != nil {
			return sample{}, fmt.Errorf("filling the backlog: %w", err)
		}
		t.Queue = stream
	}
	before, seen := b.cpu()
	out, err := p.run(ctx, s, t)
	if err != nil {
		return out, err
	}
	if after, ok := b.cpu(); ok && seen {
		used := after - before
		out.BrokerCPUSeconds = &used
	}
	out.Count = t.Count
	if s.Sends {
		err = b.streamHolds(ctx, t.Queue, t.Count)
	}
	return out, err
}

// backlog is the stream that a scenario only consumes. The first measurement fills
// it.
func (b *site) backlog(ctx context.Context, s scenario, t task) (string, error) {
	if name, ok := b.backlogs[s.Name]; ok {
		return name, nil
	}
	t.Count, t.Profile = t.Backlog, ""
	if err := b.client.DeclareStream(ctx, thump.StreamSpec{Name: t.Queue}); err != nil {
		return "", err
	}
	if b.backlogs == nil {
		b.backlogs = map[string]string{}
	}
	_, err := b.filler.run(ctx, scenario{Sends: true, Stream: true}, t)
	if err == nil {
		err = b.streamHolds(ctx, t.Queue, t.Count)
	}
	if err != nil {
		b.deleteStream(ctx, t.Queue)
		return "", err
	}
	b.backlogs[s.Name] = t.Queue
	return t.Queue, nil
}

func (b *site) deleteBacklogs(ctx context.Context) {
	for _, stream := range b.backlogs {
		b.deleteStream(ctx, stream)
	}
}

// deleteStream frees the disk. An error does not matter: no other measurement
// uses that stream.
func (b *site) deleteStream(ctx context.Context, stream string) {
	_ = b.client.DeleteStream(context.WithoutCancel(ctx), stream)
}

// streamHolds asks the broker whether a new stream holds that many messages. Its
// offsets count up from 0, so the last chunk must end with the last message. Only
// the header of that chunk is read: the chunk can have tens of MiB, and the peak
// memory of this process is the least that Linux reports for its children.
func (b *site) streamHolds(ctx context.Context, stream string, messages int) error {
	c, err := dialBareStream(b.streamURL)
	if err != nil {
		return err
	}
	defer c.socket.Close()
	// If the stream is empty, no chunk comes.
	defer context.AfterFunc(ctx, func() { _ = c.socket.Close() })()
	if err := c.socket.SetReadDeadline(time.Now().Add(checkTimeout)); err != nil {
		return err
	}
	err = c.call(&streamproto.Subscribe{
		Stream: stream, Offset: streamproto.OffsetSpec{Type: streamproto.OffsetLast}, Credit: 1,
	})
	if err != nil {
		return err
	}
	end, ok := 0, false
	for end, ok = chunkEnd(c.unread()); !ok; end, ok = chunkEnd(c.unread()) {
		if err := c.read(); err != nil {
			return fmt.Errorf("reading the end of the stream: %w", err)
		}
	}
	if end != messages {
		return fmt.Errorf("the stream ends with %d messages, expected %d", end, messages)
	}
	return nil
}
