package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/record"
)

// inputFlags say what send sends that it does not make up, and how.
type inputFlags struct {
	generate bool
	layout   formatFlags

	exchange   string
	routingKey string
	toOriginal bool
	ttl        durationFlag
	headers    []string
	properties []string

	filterValue string

	loop      bool
	pace      float64
	rejectsTo string
	skipBad   bool
	maxBody   maxBodyFlag

	files []string // what is to be sent; none to make messages up
	count uint64   // at most; 0 for all
	// implied says that standard input is read because something may be there, and not
	// because the user has named it.
	implied bool
}

func (f *inputFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.generate, "generate", false, "make messages up, whatever standard input is")
	f.layout.register(flags)
	flags.StringVar(&f.exchange, "exchange", "", "send to this exchange instead of a queue; a record keeps its routing key, unless --routing-key is given")
	flags.StringVar(&f.routingKey, "routing-key", "", "the routing key of all messages, with --exchange or --super-stream")
	flags.BoolVar(&f.toOriginal, "to-original", false, "send each record to the exchange and with the routing key that it names")
	f.registerProperties(flags)
	flags.Float64Var(&f.pace, "pace", 0, "replay records as they came, by stored_at or timestamp: 1 as fast as they came, 2 twice as fast")
	flags.BoolVar(&f.loop, "loop", false, "begin again at the end of the files, until --count")
	flags.StringVar(&f.rejectsTo, "rejects", "", "add messages that the broker rejects or returns to this file, as records")
	flags.BoolVar(&f.skipBad, "skip-bad", false, "go on after a message that can't be read or sent, and count it")
	f.maxBody.register(flags)
}

// registerProperties adds the flags for what all messages have.
func (f *inputFlags) registerProperties(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.headers, "header", nil, "a header of all messages: KEY=TEXT, or KEY:=VALUE for a value of JSON as in a record (attempt:=3)")
	flags.StringArrayVar(&f.properties, "property", nil, "a property of all messages: KEY=VALUE, like content_type=text/plain or priority=5")
	flags.StringVar(&f.filterValue, "filter-value", "", "stream: the filter value of all messages, which receive --filter-value asks for (RabbitMQ 3.13)")
}

// registerTTL adds the flag that lets made-up messages expire.
func (f *inputFlags) registerTTL(flags *pflag.FlagSet) {
	flags.Var(&f.ttl, "ttl", "let each made-up message expire that waits so long in its queue, like 5s")
}

// made are the properties that made-up messages have; nil for none.
func (f *inputFlags) made() (*thump.Properties, error) {
	changes, err := f.changes()
	if err != nil || len(changes) == 0 && f.ttl == 0 {
		return nil, err
	}
	var p thump.Properties
	for _, change := range changes {
		change(&p)
	}
	if f.ttl > 0 {
		if p.Expiration != 0 {
			return nil, errors.New("--ttl can't go with --property expiration: each says when messages expire")
		}
		p.Expiration = time.Duration(f.ttl)
	}
	return &p, nil
}

// madeUpFlags are the flags that are for messages that are made up.
func madeUpFlags() []string {
	return []string{"body", "publishers", "latency", "incompressible", "priority", "routing-keys", "ttl", "queues"}
}

// choose finds out where the messages come from: from the files, from standard input where
// it is a pipe or a file and the URL does not come from there, or from nowhere.
func (f *inputFlags) choose(files []string, given func(string) bool, urlFromStdin bool) error {
	switch {
	case urlFromStdin && slices.Contains(files, "-"):
		return errors.New("the URL comes from standard input, so the messages can't")
	case f.generate && len(files) > 0:
		return fmt.Errorf("--generate can't go with a file: %q", files[0])
	case f.generate:
	case len(files) > 0:
		f.files = files
	case !given("body") && !urlFromStdin && hasInput(os.Stdin):
		f.files, f.implied = []string{"-"}, true
	}
	if len(f.files) > 0 {
		return f.checkFiles(given)
	}
	for _, flag := range []string{"format", "delimiter", "compress", "to-original", "loop", "rejects", "skip-bad", "filter-value", "pace"} {
		if given(flag) {
			return fmt.Errorf("--%s is for messages from a file or from standard input", flag)
		}
	}
	// Whoever has forgotten the file is not to fill an exchange's queues.
	if !f.generate && !slices.ContainsFunc(madeUpFlags(), given) {
		for _, flag := range []string{"exchange", "routing-key"} {
			if given(flag) {
				return fmt.Errorf("--%s is for messages from a file or from standard input, or with --generate for made-up ones", flag)
			}
		}
	}
	return nil
}

// hasInput reports whether something may come from there without a person: a pipe, a socket
// or a file. Of a terminal and of /dev/null nothing does.
func hasInput(stdin *os.File) bool {
	info, err := stdin.Stat()
	return err == nil && (info.Mode().IsRegular() || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0)
}

// checkFiles says what is wrong with the flags, where messages come from files.
func (f *inputFlags) checkFiles(given func(string) bool) error {
	var errs []error
	for _, flag := range madeUpFlags() {
		if given(flag) {
			errs = append(errs, fmt.Errorf("--%s is for messages that are made up, and these come %s", flag, f))
		}
	}
	switch {
	case f.pace < 0 || math.IsNaN(f.pace) || given("pace") && f.pace == 0:
		errs = append(errs, errors.New("--pace must be more than 0"))
	case f.pace > 0 && given("rate"):
		errs = append(errs, errors.New("--pace can't go with --rate: each says when a message is sent"))
	case f.loop && slices.Contains(f.files, "-"):
		errs = append(errs, errors.New("--loop can't go with standard input, which can't be read twice"))
	case f.toOriginal && (given("exchange") || given("routing-key")):
		errs = append(errs, errors.New("--to-original can't go with --exchange or --routing-key: each record says where it goes"))
	}
	errs = append(errs, f.layout.check())
	if _, err := f.changes(); err != nil {
		errs = append(errs, err)
	}
	for _, name := range f.files {
		if name != "-" {
			errs = append(errs, readable(name))
		}
	}
	return faults(errs...)
}

// readable says why a file can't be read, before a connection is made for it.
func readable(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, cause(err))
	case info.IsDir():
		return fmt.Errorf("%s: it is a folder", name)
	case !info.Mode().IsRegular():
		return nil // to open a pipe waits for its writer
	}
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, cause(err))
	}
	return file.Close()
}

// String is where the messages come from.
func (f *inputFlags) String() string {
	var names []string
	for _, name := range f.files {
		format, _ := f.layout.of(name)
		what := string(format.Layout)
		if format.Layout == record.JSON {
			what = "records"
		}
		if name == "-" {
			name = "standard input"
		}
		names = append(names, fmt.Sprintf("%s (%s)", name, what))
	}
	return "from " + strings.Join(names, ", ")
}

// change is what --header and --property do to a message's properties.
type change func(*thump.Properties)

// changes are what the flags do to each message.
func (f *inputFlags) changes() ([]change, error) {
	var list []change
	for _, text := range f.properties {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--property %q must be KEY=VALUE", text)
		}
		if err := record.SetProperty(new(thump.Properties), key, value); err != nil {
			return nil, fmt.Errorf("--property %q: %w", text, err)
		}
		list = append(list, func(p *thump.Properties) { _ = record.SetProperty(p, key, value) })
	}
	for _, text := range f.headers {
		key, value, err := parseHeader(text)
		if err != nil {
			return nil, err
		}
		list = append(list, func(p *thump.Properties) { p.Headers.Set(key, value) })
	}
	return list, nil
}

// parseHeader takes KEY=TEXT, or KEY:=VALUE with a value as in a record.
func parseHeader(text string) (key string, value any, err error) {
	key, plain, ok := strings.Cut(text, "=")
	if !ok || key == "" || key == ":" {
		return "", nil, fmt.Errorf("--header %q must be KEY=TEXT or KEY:=VALUE", text)
	}
	bare, typed := strings.CutSuffix(key, ":")
	if !typed {
		return key, plain, nil
	}
	if value, err = record.ParseValue(plain); err != nil {
		return "", nil, fmt.Errorf("--header %q: the value is no JSON as in a record: %w", text, err)
	}
	return bare, value, nil
}
