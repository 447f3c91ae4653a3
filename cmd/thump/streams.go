package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
)

// streamsRecord is what show, declare and delete write as JSON of a stream or a super
// stream.
type streamsRecord struct {
	Version int            `json:"version"`
	Streams []streamRecord `json:"streams"`
}

// streamRecord is a stream. What is not known is left out.
type streamRecord struct {
	Name        string   `json:"name"`
	Partitions  []string `json:"partitions,omitempty"` // of a super stream, which has nothing of the rest
	Leader      string   `json:"leader,omitempty"`
	Replicas    []string `json:"replicas,omitempty"`
	Empty       *bool    `json:"empty,omitempty"`
	FirstOffset *uint64  `json:"first_offset,omitempty"`
	LastChunk   *uint64  `json:"last_chunk,omitempty"`
	Created     bool     `json:"created,omitempty"`
	Deleted     bool     `json:"deleted,omitempty"`
}

func streamCommand(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Streams and super streams: list, show, declare, delete",
		Long: `stream lists streams, shows one, makes and deletes them. What destroys something asks first,
and needs --yes where there is no terminal. thump queue does the same for queues.
` + exitCodesHelp,
		Example: `  thump stream list
  thump stream declare events --max-age 24h
  thump stream show events
  thump stream delete events`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listCommand(u, "stream"), streamShowCommand(u), streamDeclareCommand(u), streamDeleteCommand(u))
	return cmd
}

func streamShowCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "show STREAM",
		Short: "Show a stream: where it is, and which offsets it has",
		Long: `show tells on which nodes a stream is, and from which offset to which chunk it reaches
(RabbitMQ 3.11); of a super stream, which partitions it has.
` + exitCodesHelp,
		Example: `  thump stream show events`,
		Args:    takesNames(1, 1),
		RunE: m.connected(func(ctx context.Context, s *manager, args []string) error {
			r, err := s.stream(ctx, args[0])
			if err != nil {
				return err
			}
			return s.answer(ctx, r.text(), streamsRecord{Version: queuesVersion, Streams: []streamRecord{r}})
		}),
	}
	m.register(cmd)
	return cmd
}

// stream describes a stream or a super stream.
func (s *manager) stream(ctx context.Context, name string) (streamRecord, error) {
	info, err := s.conn.client.InspectStream(ctx, name)
	if thump.IsNotFound(err) {
		partitions, failed := s.conn.client.Partitions(ctx, name)
		if failed != nil {
			return streamRecord{}, fmt.Errorf("the stream %q does not exist", name)
		}
		return streamRecord{Name: name, Partitions: partitions}, nil
	}
	r := streamRecord{Name: name, Leader: info.Leader, Replicas: info.Replicas}
	if info.Known {
		r.Empty = &info.Empty
	}
	if info.Known && !info.Empty {
		r.FirstOffset, r.LastChunk = &info.FirstOffset, &info.LastChunk
	}
	return r, err
}

func (r *streamRecord) text() string {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("name", "%s", r.Name)
	if r.Partitions != nil {
		line("partitions", "%s", strings.Join(r.Partitions, ", "))
		return b.String()
	}
	line("leader", "%s", r.Leader)
	if len(r.Replicas) > 0 {
		line("replicas", "%s", strings.Join(r.Replicas, ", "))
	}
	switch {
	case r.Empty == nil:
		line("offsets", "not known (RabbitMQ before 3.11 can't say)")
	case *r.Empty:
		line("offsets", "none: it is empty")
	default:
		line("offsets", "from %d on; the last chunk begins with %d", *r.FirstOffset, *r.LastChunk)
	}
	return b.String()
}

func streamDeclareCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	var spec thump.SuperStreamSpec
	var maxBytes, segmentBytes sizeFlag
	cmd := &cobra.Command{
		Use:   "declare STREAM",
		Short: "Make a stream, or with --partitions a super stream",
		Long: `declare makes a stream, or a super stream if you give it --partitions (RabbitMQ 3.13). One that
exists already and has these settings stays as it is; one with others is an error, and stays
as well. Of a super stream that exists, only the partitions are compared.
` + exitCodesHelp,
		Example: `  thump stream declare events --max-bytes 10GB --max-age 168h
  thump stream declare orders --partitions 3`,
		Args: takesNames(1, 1),
		PreRunE: func(cmd *cobra.Command, args []string) (err error) {
			spec.Name, spec.MaxBytes, spec.SegmentBytes = args[0], int64(maxBytes), int64(segmentBytes)
			if cmd.Flags().Changed("partitions") && (spec.Partitions < 1 || spec.Partitions > partitionsMax) {
				return usagef("--partitions must be from 1 to %d, not %d", partitionsMax, spec.Partitions)
			}
			return nil
		},
		RunE: m.connected(func(ctx context.Context, s *manager, _ []string) error {
			return s.declareStream(ctx, spec)
		}),
	}
	flags := m.register(cmd)
	flags.IntVar(&spec.Partitions, "partitions", 0, "make a super stream of this many partitions")
	flags.Var(&maxBytes, "max-bytes", "keep about this much: 500MB, 10GB (default: everything)")
	flags.DurationVar(&spec.MaxAge, "max-age", 0, "keep messages for about this long, like 24h (default: for ever)")
	flags.Var(&segmentBytes, "segment-bytes", "the size of a file of the stream; whole files are removed (default: 500MB)")
	return cmd
}

func (s *manager) declareStream(ctx context.Context, spec thump.SuperStreamSpec) error {
	client, what := s.conn.client, "stream"
	_, err := client.InspectStream(ctx, spec.Name)
	declare := func() error { return client.DeclareStream(ctx, spec.StreamSpec) }
	if spec.Partitions > 0 {
		what = "super stream"
		_, err = client.Partitions(ctx, spec.Name)
		declare = func() error { return client.DeclareSuperStream(ctx, spec) }
	}
	there := err == nil
	if err := declare(); err != nil {
		return err
	}
	text := fmt.Sprintf("Declared the %s %q.\n", what, spec.Name)
	if there {
		text = fmt.Sprintf("The %s %q is there already, and is as it should be.\n", what, spec.Name)
	}
	return s.answer(ctx, text, streamsRecord{Version: queuesVersion, Streams: []streamRecord{{Name: spec.Name, Created: !there}}})
}

func streamDeleteCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "delete STREAM",
		Short: "Delete a stream or a super stream",
		Long: `delete deletes a stream, or a super stream with its partitions. It refuses one that holds
messages, or of which that is not known, unless you say --force. It asks first; where there
is no terminal it needs --yes. A stream's consumers lose their stored offsets.
` + exitCodesHelp,
		Example: `  thump stream delete events --force`,
		Args:    takesNames(1, 1),
		RunE: m.connected(func(ctx context.Context, s *manager, args []string) error {
			return s.deleteStream(ctx, args[0])
		}),
	}
	flags := m.register(cmd)
	flags.BoolVar(&m.force, "force", false, "delete a stream that holds messages, too")
	m.registerDestructive(flags)
	return cmd
}

func (s *manager) deleteStream(ctx context.Context, name string) error {
	r, err := s.stream(ctx, name)
	if err != nil {
		return err
	}
	what, remove, all := "stream", s.conn.client.DeleteStream, []string{name}
	if r.Partitions != nil {
		what, remove, all = "super stream", s.conn.client.DeleteSuperStream, r.Partitions
	}
	for _, stream := range all {
		if holds := s.holds(ctx, stream); holds != "" && !s.force {
			return fmt.Errorf("the stream %q %s; nothing was deleted (--force deletes it all the same)", stream, holds)
		}
	}
	question := fmt.Sprintf("Delete the %s %q, with all that is in it?", what, name)
	if r.Partitions != nil {
		question = fmt.Sprintf("Delete the super stream %q with its %d partitions, and all that is in them?", name, len(r.Partitions))
	}
	if err := s.u.confirm(ctx, s.yes, question); err != nil {
		return err
	}
	if err := remove(ctx, name); err != nil {
		return err
	}
	return s.answer(ctx, fmt.Sprintf("Deleted the %s %q.\n", what, name),
		streamsRecord{Version: queuesVersion, Streams: []streamRecord{{Name: name, Partitions: r.Partitions, Deleted: true}}})
}

// holds says why a stream can't be taken for empty; "" if it can.
func (s *manager) holds(ctx context.Context, name string) string {
	info, err := s.conn.client.InspectStream(ctx, name)
	if err == nil && info.Known {
		if info.Empty {
			return ""
		}
		return "holds messages"
	}
	return "may hold messages, because what is in it is not known (RabbitMQ before 3.11 can't say)"
}
