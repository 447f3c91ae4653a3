package report

import (
	"reflect"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/printable"
)

// shown returns a copy of the run in which every text is one printable line: brokers and
// files say what is in a record. What the report says beside that is its own.
func shown(r *result.Run) *result.Run {
	run := *r
	show(reflect.ValueOf(&run).Elem())
	return &run
}

// show replaces every text in v, which can be set. It makes new what v points to.
func show(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(printable.Text(v.String()))
	case reflect.Struct:
		for _, field := range v.Fields() {
			show(field)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fresh := reflect.New(v.Type().Elem())
			fresh.Elem().Set(v.Elem())
			show(fresh.Elem())
			v.Set(fresh)
		}
	case reflect.Slice:
		fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			fresh.Index(i).Set(v.Index(i))
			show(fresh.Index(i))
		}
		if !v.IsNil() {
			v.Set(fresh)
		}
	default: // numbers
	}
}
