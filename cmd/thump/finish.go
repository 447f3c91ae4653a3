package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/page"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// resultFlags say what becomes of the result of run, send and receive besides its text.
type resultFlags struct {
	html   string
	failIf failIfFlag
}

func (f *resultFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.html, "html", "", `write the result as a page with charts to this file, which needs nothing else; "-" for standard output`)
	f.failIf.register(flags)
}

// checkReceive refuses what receive can't do: its messages may take standard output.
func (f *resultFlags) checkReceive() error {
	if f.html == "-" {
		return errors.New("--html - is not for receive, whose messages go to standard output: name a file")
	}
	return nil
}

// openPage opens the file of --html, before the work begins. Where the page takes standard
// output, the text goes to standard error.
func (cfg *config) openPage(ctx context.Context, u *ui, json *file) (*file, error) {
	html, err := u.openFile(ctx, "--html", cfg.result.html)
	if err != nil {
		return nil, err
	}
	if html != nil && html.out == io.Writer(u.stdout) {
		if json != nil && json.out == html.out {
			return nil, usageError{errors.New("--html - can't go with --json -: both want standard output")}
		}
		u.data = true
	}
	return html, nil
}

// finish prints the text of a record, writes it in the other forms that were asked for, and
// returns what the command ends with: ended, or what --fail-if finds in it.
func (o *opened) finish(ctx context.Context, text string, rec *result.Record, ended error) error {
	return o.finishJudging(ctx, text, rec, rec.Runs, ended)
}

// finishJudging is finish where --fail-if is for some of the record's runs alone.
func (o *opened) finishJudging(ctx context.Context, text string, rec *result.Record, judged []*result.Run, ended error) error {
	if err := o.u.printResult(ctx, o.json, text, rec); err != nil {
		return err
	}
	if o.html != nil {
		groups := compare.Groups(compare.Source{Runs: rec.Runs})
		if err := o.html.fill(ctx, func(w io.Writer) error { return page.Write(w, groups, rec.Search) }); err != nil {
			return o.u.orInterrupted(fmt.Errorf("--html: %w", err))
		}
	}
	if ended != nil {
		return ended
	}
	return o.failIf.judge(judged)
}
