package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/page"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/printable"
)

// reportFlags say what report makes of the runs.
type reportFlags struct {
	html            string
	json, csv, text bool
	failIf          failIfFlag
}

func reportCommand(u *ui) *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report RUN...",
		Short: "Read kept runs again: as text, as a page, as JSON or CSV, and beside each other",
		Long: `report reads what thump run, send and receive have written with --json or --save, and says it
again: as text, as a page to look at and to hand on (--html: one file that needs nothing
else, and opens anywhere), as one JSON record, or as CSV with a line for each sample.

Several runs of the same settings become one table. Several files, or settings, are put
beside each other: A is the first, the others are compared with it, and for each figure
the report says whether noise explains the difference. That needs five runs of each or
more to be sharp: thump run --repeat 5.

--fail-if says what must not be, in any of the runs: a figure, an operator and a limit.
If it is, report ends with exit code 4.

RUN is a file; - is standard input. What was lost in a run that is kept is no failure of report.
` + exitCodesBegin + exitCodesEnd,
		Example: `  thump report run.json
  thump report run.ndjson --html run.html
  thump report before.json after.json
  thump report run.json --csv >samples.csv
  thump report run.json --fail-if 'receive_rate<50k' --fail-if 'lost>0'`,
		Args: noURLs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := faults(f.check(len(args))); err != nil {
				return err
			}
			return f.report(cmd.Context(), u, args)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.html, "html", "", `write a page to this file; "-" for standard output`)
	flags.BoolVar(&f.json, "json", false, "print all runs as one record, with the comparisons")
	flags.BoolVar(&f.csv, "csv", false, "print the samples, a line each")
	flags.BoolVar(&f.text, "text", false, "print text (the default)")
	f.failIf.register(flags)
	return cmd
}

func (f *reportFlags) check(files int) error {
	given := 0
	for _, one := range []bool{f.html != "", f.json, f.csv, f.text} {
		if one {
			given++
		}
	}
	switch {
	case given > 1:
		return errors.New("--html, --json, --csv and --text can't go with each other")
	case files == 0:
		return errors.New("report needs the file of a run, as thump run writes it with --json or --save")
	default:
		return nil
	}
}

// report reads the runs and writes what was asked for.
func (f *reportFlags) report(ctx context.Context, u *ui, names []string) error {
	html, err := u.openFile(ctx, "--html", f.html)
	if err != nil {
		return u.orInterrupted(err)
	}
	defer html.discard()
	kept, err := readKept(ctx, names)
	if err != nil {
		return u.orInterrupted(err)
	}
	switch {
	case html != nil:
		err = html.fill(ctx, func(w io.Writer) error { return page.Write(w, kept.groups, kept.searches...) })
	case f.json:
		err = kept.writeJSON(u.stdout)
	case f.csv:
		err = report.CSV(u.stdout, kept.runs)
	default:
		u.printf("%s", kept.text())
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return u.orInterrupted(err)
	}
	return f.failIf.judge(kept.runs)
}

// kept is what the files have that report was given.
type kept struct {
	runs     []*result.Run
	groups   []compare.Group
	searches []*result.Search // of the files that have one
}

// readKept reads the files, and puts their runs in groups.
func readKept(ctx context.Context, names []string) (*kept, error) {
	k := &kept{}
	var sources []compare.Source
	for _, name := range names {
		rec, err := interruptibly(ctx, func() (*result.Record, error) { return readRecord(name) })
		if err != nil {
			return nil, err
		}
		sources, k.runs = append(sources, compare.Source{Name: name, Runs: rec.Runs}), append(k.runs, rec.Runs...)
		if rec.Search != nil {
			k.searches = append(k.searches, rec.Search)
		}
	}
	k.groups = compare.Groups(sources...)
	return k, ctx.Err()
}

// text is the runs as text, and last what was looked for and found.
func (k *kept) text() string {
	texts := []string{report.Runs(k.groups)}
	for _, s := range k.searches {
		texts = append(texts, report.Search(&result.Record{Search: s}, nil))
	}
	return strings.Join(texts, "\n")
}

// readRecord reads the file of a run.
func readRecord(name string) (*result.Record, error) {
	read := func() (*result.Record, error) { return result.ReadFile(name) }
	if name == "-" {
		read = func() (*result.Record, error) { return result.ReadFrom(os.Stdin) }
	}
	rec, err := read()
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "result: "))
	}
	return rec, nil
}

// writeJSON writes all runs as one record, which thump report reads again, with the
// comparisons of their groups. A record has room for one search: of several none is in it.
func (k *kept) writeJSON(w io.Writer) error {
	var comparisons []compare.Comparison
	for _, g := range k.groups[1:] {
		comparisons = append(comparisons, compare.Compare(k.groups[0], g))
	}
	rec := result.New(k.runs...)
	if len(k.searches) == 1 {
		rec.Search = k.searches[0]
	}
	text, err := json.MarshalIndent(struct {
		*result.Record
		Comparisons []compare.Comparison `json:"comparisons"`
	}{rec, comparisons}, "", "  ")
	if err == nil {
		_, err = w.Write(append(printable.JSON(text), '\n'))
	}
	return err
}

// failIfFlag is what must not be: conditions of figures.
type failIfFlag []result.Condition

func (f *failIfFlag) register(flags *pflag.FlagSet) {
	flags.Var(f, "fail-if", "end with exit code 4 if a figure of a run is so: p99>20ms, receive_rate<50k, lost>0; may be given more than once")
}

func (f *failIfFlag) Type() string { return "condition" }

func (f *failIfFlag) String() string {
	var texts []string
	for _, c := range *f {
		texts = append(texts, c.String())
	}
	return strings.Join(texts, ", ")
}

// Set adds a condition.
func (f *failIfFlag) Set(text string) error {
	c, err := result.ParseCondition(text)
	if err == nil {
		*f = append(*f, c)
	}
	return err
}

// errFailIf ends a command whose runs are as --fail-if says that they must not be.
var errFailIf = errors.New("--fail-if")

// judge says what holds of the runs, and returns an error if anything does, or can't be told.
// What holds comes first, and so decides what the command ends with; what can't be told is said
// once of each condition.
func (f failIfFlag) judge(runs []*result.Run) error {
	var broken, unknown []error
	for _, c := range f {
		var first error // of what can't be told
		for i, r := range runs {
			holds, err := c.Holds(r)
			of := ""
			if len(runs) > 1 {
				of = fmt.Sprintf(" in run %d", i+1)
			}
			switch {
			case err != nil && first == nil:
				first = fmt.Errorf("--fail-if %w%s", err, of)
				unknown = append(unknown, first)
			case holds:
				broken = append(broken, fmt.Errorf("%w %s: it is %s%s", errFailIf, c, report.Value(c.Figure(), r), of))
			}
		}
	}
	return oneLine(append(broken, unknown...))
}

// oneLine joins errors in one line; the first is what the command ends with.
func oneLine(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	err := errs[0]
	for _, another := range errs[1:] {
		err = fmt.Errorf("%w; %w", err, another)
	}
	return err
}
