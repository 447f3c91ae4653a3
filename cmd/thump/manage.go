package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/management"
	"github.com/thumpmq/thump/internal/printable"
)

// manage is what the commands about queues and streams share: their flags, and what they
// begin and end with.
type manage struct {
	connect       connectFlags
	managementURL string
	json          string
	yes, force    bool
	destructive   bool // it asks first
	u             *ui
}

// register adds the flags of every such command.
func (m *manage) register(cmd *cobra.Command) *pflag.FlagSet {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&m.json, "json", "", `write the answer as JSON to this file; "-" for standard output, where nothing else goes then`)
	m.connect.register(flags)
	return flags
}

// registerManagement adds the flag of those that ask the management API.
func (m *manage) registerManagement(flags *pflag.FlagSet) {
	flags.StringVar(&m.managementURL, "management-url", "", managementHelp)
}

// registerDestructive adds the flags of those that destroy something.
func (m *manage) registerDestructive(flags *pflag.FlagSet) {
	m.destructive = true
	flags.BoolVarP(&m.yes, "yes", "y", false, "don't ask; needed where there is no terminal to ask at")
}

// manager is a connection, and where the answer goes.
type manager struct {
	*manage
	conn   *connection
	target target
	json   *file // nil if nobody wants JSON
}

// connected returns what cobra runs: it connects, does the work, and disconnects.
func (m *manage) connected(work func(ctx context.Context, s *manager, args []string) error) func(*cobra.Command, []string) error {
	return m.run(work, func(ctx context.Context, cmd *cobra.Command, s *manager) (err error) {
		s.conn, err = s.target.dial(ctx, m.u, manner{name: cmd.CommandPath(), recovery: thump.Recovery{Off: true}})
		if err != nil && s.target.fallback && nothingListens(err) {
			return fmt.Errorf("%w; start a RabbitMQ with: thump broker start", err)
		}
		return err
	})
}

// disconnected is connected for work that needs only the management API.
func (m *manage) disconnected(work func(ctx context.Context, s *manager, args []string) error) func(*cobra.Command, []string) error {
	return m.run(work, func(context.Context, *cobra.Command, *manager) error { return nil })
}

// run finds out whether the user can be asked, and the answer be written, before it connects.
func (m *manage) run(work func(ctx context.Context, s *manager, args []string) error, connect func(context.Context, *cobra.Command, *manager) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		if m.destructive {
			if err := m.u.mayAsk(m.yes); err != nil {
				return err
			}
		}
		if err := m.connect.check(cmd.Flags().Changed); err != nil {
			return usageError{err}
		}
		ctx, done := m.u.starting(cmd.Context())
		defer done()
		s := &manager{manage: m}
		defer func() { err = s.close(cmd.Context(), m.u.orInterrupted(err)) }()
		if s.json, err = m.u.openJSON(ctx, m.json); err != nil {
			return err
		}
		if s.target, err = m.connect.target(ctx, m.u); err != nil {
			return err
		}
		if err := connect(ctx, cmd, s); err != nil {
			return err
		}
		return work(ctx, s, args)
	}
}

// close ends the connection, and returns what the command ends with.
func (s *manager) close(ctx context.Context, err error) error {
	s.json.discard()
	if s.conn == nil {
		return err
	}
	return cmp.Or(err, s.conn.close(ctx, false, goodbyeTimeout))
}

// answer writes the answer: as text, or as JSON where that was asked for.
func (s *manager) answer(ctx context.Context, text string, record any) error {
	if s.json == nil || s.json.out != io.Writer(s.u.stdout) {
		s.u.printf("%s", text)
	}
	if s.json == nil {
		return nil
	}
	if err := s.json.fillJSON(ctx, record); err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return nil
}

// management makes a client of the management API, and says which vhost the URL names.
func (s *manager) management() (api *management.Client, vhost string, err error) {
	return s.target.management(s.u, s.managementURL)
}

// withAdvice says what to do where the management API is not there.
func withAdvice(err error, without string) error {
	if errors.Is(err, management.ErrAbsent) {
		return fmt.Errorf("%w; it comes with: rabbitmq-plugins enable rabbitmq_management, and --management-url says where it is%s", err, without)
	}
	return err
}

// column is a column of a table: its heading, and whether numbers are in it.
type column struct {
	heading string
	right   bool
}

// table lays out rows under headings. Its text may be a stranger's.
func table(columns []column, rows [][]string) string {
	widths := make([]int, len(columns))
	heading := make([]string, len(columns))
	for i, c := range columns {
		heading[i] = c.heading
	}
	all := append([][]string{heading}, rows...)
	for _, row := range all {
		for i := range row {
			row[i] = printable.Text(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].right {
				cell = space + cell
			} else {
				cell += space
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}
