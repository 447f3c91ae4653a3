package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/internal/record"
)

// formatFlags say how messages are in a file: those of send and of receive mean the same.
type formatFlags struct {
	layout    string
	delimiter string
	compress  string
}

func (f *formatFlags) register(flags *pflag.FlagSet) {
	flags.Var((*layoutFlag)(&f.layout), "format", "how messages are in the file: records (docs/format.md), or bodies alone (default: records in a file .ndjson, .jsonl or .json, and lines in others)")
	flags.Var((*delimiterFlag)(&f.delimiter), "delimiter", `lines: what ends each body instead of a line break, like '\0', ';' or '--\n'`)
	flags.Var((*compressFlag)(&f.compress), "compress", "the file is compressed (default: as its name says, .gz or .zst)")
}

func (f *formatFlags) check() error {
	if f.delimiter != "" && f.layout != "" && record.Layout(f.layout) != record.Lines {
		return fmt.Errorf("--delimiter can't go with --format %s: it is for lines", f.layout)
	}
	return nil
}

// of is the format of a file, and how it is compressed. "-" says neither by its name.
func (f *formatFlags) of(name string) (record.Format, record.Compression) {
	layout, compression := record.LayoutOf(name), record.CompressionOf(name)
	switch {
	case f.layout != "":
		layout = record.Layout(f.layout)
	case f.delimiter != "":
		layout = record.Lines
	}
	if f.compress != "" {
		compression = record.Compression(f.compress)
	}
	return record.Format{Layout: layout, Delimiter: f.delimiter}, compression
}

// layoutFlag is a layout; "" only as a default.
type layoutFlag string

func (f *layoutFlag) String() string { return string(*f) }

func (f *layoutFlag) Type() string {
	var words []string
	for _, layout := range record.Layouts() {
		words = append(words, string(layout))
	}
	return strings.Join(words, "|")
}

func (f *layoutFlag) Set(text string) error {
	if !slices.Contains(record.Layouts(), record.Layout(text)) {
		return errors.New("must be json, lines, raw or length-prefixed")
	}
	*f = layoutFlag(text)
	return nil
}

// compressFlag is a compression of files; "" only as a default.
type compressFlag string

func (f *compressFlag) String() string { return string(*f) }
func (f *compressFlag) Type() string   { return "none|gzip|zstd" }

func (f *compressFlag) Set(text string) error {
	switch c := record.Compression(text); c {
	case record.None, record.Gzip, record.Zstd:
		*f = compressFlag(text)
		return nil
	default:
		return errors.New("must be none, gzip or zstd")
	}
}

// delimiterFlag is what ends a body; the escapes of Go and C stand for what can't be typed.
type delimiterFlag string

func (f *delimiterFlag) Type() string { return "text" }

func (f *delimiterFlag) String() string {
	quoted := strconv.Quote(string(*f))
	return quoted[1 : len(quoted)-1]
}

func (f *delimiterFlag) Set(text string) error {
	if text == "" {
		return errors.New("must not be empty")
	}
	escaped := strings.ReplaceAll(strings.ReplaceAll(text, `"`, `\"`), `\0`, `\x00`)
	value, err := strconv.Unquote(`"` + escaped + `"`)
	if err != nil {
		return errors.New(`must be text like ';', or have escapes like '\0', '\t' or '\r\n'`)
	}
	*f = delimiterFlag(value)
	return nil
}
