package report

import (
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestWhatARecordSaysIsShown: a record from a file may hold anything, in every field.
func TestWhatARecordSaysIsShown(t *testing.T) {
	const hostile = "x\x1b[31m\u009b31m\r\nok: 1,000,000 sent\x07\u202e\xff"
	fill := func(v reflect.Value) {}
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString(hostile)
		case reflect.Struct:
			for _, field := range v.Fields() {
				fill(field)
			}
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0))
		default: // numbers
		}
	}
	var all result.Run
	fill(reflect.ValueOf(&all).Elem())
	for _, kind := range []result.Kind{hostile, result.Classic, result.Quorum, result.Stream, result.SuperStream} {
		for _, command := range []string{hostile, "run", "receive", "send"} {
			for _, verdict := range []result.Verdict{hostile, result.Failed, result.OK} {
				run := all
				run.Settings.Kind, run.Command, run.Verdict = kind, command, verdict
				run.Settings.Confirms = true
				texts := append([]string{
					Text(&run), Settings(&run), Verdict(&run), Table(result.New(&run, &run)),
				}, Guarantee(&run)...)
				for _, text := range texts {
					if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), func(r rune) bool { return !unicode.IsPrint(r) && r != '\u00a0' }) {
						t.Errorf("%s, %s: %q", kind, command, text)
					}
					if strings.Contains(text, "\nok: 1,000,000 sent") {
						t.Errorf("%s, %s: a line of the record's own: %q", kind, command, text)
					}
				}
				if *run.Reason != hostile || run.LostMessages[0] != hostile || run.Broker.Product != hostile {
					t.Fatal("the record itself was changed")
				}
			}
		}
	}
}
