package thump

import (
	"reflect"
	"testing"
)

// TestBare: a message with anything that a stream has to be told, beside the body, is not taken
// for one without.
func TestBare(t *testing.T) {
	if !(&Message{Body: []byte("x")}).bare() {
		t.Error("a body alone is more than that")
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Message]()) {
		var m Message
		v := reflect.ValueOf(&m).Elem().FieldByIndex(field.Index)
		switch {
		case v.Kind() == reflect.String:
			v.SetString("x")
		case v.CanUint():
			v.SetUint(1 << 63)
		case v.Kind() == reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		case v.Kind() == reflect.Func:
			v.Set(reflect.MakeFunc(v.Type(), func([]reflect.Value) []reflect.Value { return nil }))
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("%s is a %v", field.Name, v.Kind())
		}
		switch field.Name {
		case "Body", "RoutingKey", "Ref", "Done": // nothing of them is sent, but for the body
			if !m.bare() {
				t.Errorf("a message with %s is not published with others", field.Name)
			}
		default:
			if m.bare() {
				t.Errorf("%s is forgotten", field.Name)
			}
		}
	}
}
