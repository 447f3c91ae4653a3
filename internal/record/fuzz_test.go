package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
)

// FuzzParse: no line makes Parse panic, and what it takes comes back the same.
func FuzzParse(f *testing.F) {
	random := generator{rand.New(rand.NewPCG(1, 1))}
	for range 50 {
		r := random.record()
		f.Add(Append(nil, &r))
	}
	f.Add([]byte(`{ "body" : "\ud83d\ude00\udcff\/" , "headers" : { "a" : { "float" : "0x7f800001" } , "a" : [ -0.0 , 1e5 ] } }`))
	f.Add([]byte(`{"offset":1,"body":""}`))
	mutate.Fuzz(f, func(t *testing.T, line []byte) {
		var p, used Parser
		var r, back Record
		err := p.Parse(line, &r)
		_ = used.Parse([]byte(`{"body":"","offset":1,"stream":""}`), &back)
		for range 2 { // the second time with the keys where they are expected
			if errUsed := used.Parse(line, &back); fmt.Sprint(errUsed) != fmt.Sprint(err) || err == nil && !same(reflect.ValueOf(r), reflect.ValueOf(back)) {
				t.Fatalf("%q: %+v, %v, and by a parser that was used before: %+v, %v", line, r, err, back, errUsed)
			}
		}
		if err != nil {
			wrong, ok := errors.AsType[*SyntaxError](err)
			if !ok {
				t.Fatalf("%q: %v", line, err)
			}
			if column := wrong.Column; column < 1 || column > len(line)+1 {
				t.Fatalf("%q: column %d", line, column)
			}
			return
		}
		if !json.Valid(line) {
			t.Fatalf("%q is taken, and is not JSON", line)
		}
		again := Append(nil, &r)
		if err := new(Parser).Parse(again, &back); err != nil {
			t.Fatalf("%q came back as %q, which does not read: %v", line, again, err)
		}
		if !same(reflect.ValueOf(r), reflect.ValueOf(back)) {
			t.Fatalf("%q: %+v came back as %+v", line, r, back)
		}
		if third := Append(nil, &back); !bytes.Equal(third, again) {
			t.Fatalf("%q came back as %q", again, third)
		}
	})
}
