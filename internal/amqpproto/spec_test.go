package amqpproto

import (
	"encoding/xml"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// spec is what the tests need of the specification's XML.
type spec struct {
	Constants []struct {
		Name  string `xml:"name,attr"`
		Value uint16 `xml:"value,attr"`
	} `xml:"constant"`
	Domains []struct {
		Name string `xml:"name,attr"`
		Type string `xml:"type,attr"`
	} `xml:"domain"`
	Classes []struct {
		Name    string      `xml:"name,attr"`
		Index   uint16      `xml:"index,attr"`
		Fields  []specField `xml:"field"`
		Methods []struct {
			Name   string      `xml:"name,attr"`
			Index  uint16      `xml:"index,attr"`
			Fields []specField `xml:"field"`
		} `xml:"method"`
	} `xml:"class"`
}

type specField struct {
	Name     string `xml:"name,attr"`
	Domain   string `xml:"domain,attr"`
	Type     string `xml:"type,attr"`
	Reserved bool   `xml:"reserved,attr"`
}

func readSpec(t testing.TB) *spec {
	t.Helper()
	data, err := os.ReadFile("testdata/amqp0-9-1.stripped.extended.xml")
	if err != nil {
		t.Fatal(err)
	}
	s := new(spec)
	if err := xml.Unmarshal(data, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// typeOf resolves a field's domain.
func (s *spec) typeOf(f specField) string {
	for _, d := range s.Domains {
		if d.Name == f.Domain {
			return d.Type
		}
	}
	return f.Type
}

// sameName compares a name of the specification with a Go one.
func sameName(spec, goName string) bool {
	return strings.EqualFold(strings.ReplaceAll(spec, "-", ""), goName)
}

// layout is the codec that writes down what a method asks of it.
type layout struct {
	m      reflect.Value // the method's struct
	fields []string      // "type GoName" or "type GoName=spec-name"
}

func (l *layout) add(kind string, v any, name string) {
	p := reflect.ValueOf(v)
	for i := range l.m.NumField() {
		if l.m.Field(i).Addr().Pointer() == p.Pointer() && l.m.Field(i).Type() == p.Type().Elem() {
			l.fields = append(l.fields, kind+" "+l.m.Type().Field(i).Name+" "+name)
			return
		}
	}
	l.fields = append(l.fields, kind+" which is no field of the struct")
}

func (l *layout) octet(v *uint8)                     { l.add("octet", v, "") }
func (l *layout) short(v *uint16)                    { l.add("short", v, "") }
func (l *layout) long(v *uint32)                     { l.add("long", v, "") }
func (l *layout) longlong(v *uint64)                 { l.add("longlong", v, "") }
func (l *layout) shortString(name string, v *string) { l.add("shortstr", v, name) }
func (l *layout) longString(name string, v *string)  { l.add("longstr", v, name) }
func (l *layout) table(name string, v *Table)        { l.add("table", v, name) }

func (l *layout) bits(v ...*bool) {
	for i := range v {
		l.add(fmt.Sprintf("bit%d", i), v[i], "")
	}
}

// TestMethodsAgainstSpec checks the ids, names, fields, field types and field
// order of all methods.
func TestMethodsAgainstSpec(t *testing.T) {
	s := readSpec(t)
	known := 0
	for _, class := range s.Classes {
		if class.Name == "tx" { // thump does not use transactions
			continue
		}
		for _, method := range class.Methods {
			name := class.Name + "." + method.Name
			known++
			t.Run(name, func(t *testing.T) {
				id := NewMethodID(class.Index, method.Index)
				m := newMethod(id)
				if m == nil {
					t.Fatal("not implemented")
				}
				if got := m.ID(); got != id {
					t.Errorf("ID: got %#x, want %#x", uint32(got), uint32(id))
				}
				if got := id.String(); got != name {
					t.Errorf("String: got %q, want %q", got, name)
				}
				v := reflect.ValueOf(m).Elem()
				if got := v.Type().Name(); !sameName(class.Name+"-"+method.Name, got) {
					t.Errorf("struct is named %s", got)
				}
				if got, want := v.NumField(), len(method.Fields); got != want {
					t.Errorf("struct has %d fields, want %d", got, want)
				}
				l := &layout{m: v}
				m.arguments(l)
				if len(l.fields) != len(method.Fields) {
					t.Fatalf("arguments are %q, want %d", l.fields, len(method.Fields))
				}
				bit := 0
				for i, f := range method.Fields {
					kind := s.typeOf(f)
					if kind == "bit" {
						kind = fmt.Sprintf("bit%d", bit)
						bit++
					} else {
						bit = 0
					}
					got := strings.SplitN(l.fields[i], " ", 3)
					if got[0] != kind || !sameName(f.Name, got[1]) || got[2] != "" && got[2] != f.Name {
						t.Errorf("argument %d is %q, want %s %s", i, l.fields[i], kind, f.Name)
					}
				}
			})
		}
	}
	if got := len(allMethods()); got != known {
		t.Errorf("%d methods implemented, the specification has %d", got, known)
	}
}

// allMethods returns an empty one of every method there is.
func allMethods() []Method {
	var all []Method
	for class := range uint16(128) {
		for method := range uint16(256) {
			if m := newMethod(NewMethodID(class, method)); m != nil {
				all = append(all, m)
			}
		}
	}
	return all
}

func TestUnknownMethodName(t *testing.T) {
	for id, want := range map[MethodID]string{
		NewMethodID(60, 99): "class 60 method 99",
		NewMethodID(30, 10): "class 30 method 10",
		NewMethodID(90, 10): "class 90 method 10",
		0:                   "class 0 method 0",
	} {
		if got := id.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestConstantsAgainstSpec compares frame types, limits and reply codes, by name.
func TestConstantsAgainstSpec(t *testing.T) {
	ours := map[string]uint16{
		"frame-method":        FrameMethod,
		"frame-header":        FrameHeader,
		"frame-body":          FrameBody,
		"frame-heartbeat":     FrameHeartbeat,
		"frame-min-size":      FrameMinSize,
		"frame-end":           FrameEnd,
		"reply-success":       ReplySuccess,
		"content-too-large":   ContentTooLarge,
		"no-route":            NoRoute,
		"no-consumers":        NoConsumers,
		"connection-forced":   ConnectionForced,
		"invalid-path":        InvalidPath,
		"access-refused":      AccessRefused,
		"not-found":           NotFound,
		"resource-locked":     ResourceLocked,
		"precondition-failed": PreconditionFailed,
		"frame-error":         FrameError,
		"syntax-error":        SyntaxError,
		"command-invalid":     CommandInvalid,
		"channel-error":       ChannelError,
		"unexpected-frame":    UnexpectedFrame,
		"resource-error":      ResourceError,
		"not-allowed":         NotAllowed,
		"not-implemented":     NotImplemented,
		"internal-error":      InternalError,
	}
	constants := readSpec(t).Constants
	for _, c := range constants {
		if got, known := ours[c.Name]; !known || got != c.Value {
			t.Errorf("%s: got %d (known: %v), want %d", c.Name, got, known, c.Value)
		}
	}
	if len(ours) != len(constants) {
		t.Errorf("%d constants here, the specification has %d", len(ours), len(constants))
	}
}

// TestPropertiesAgainstSpec writes each property alone and looks for its flag,
// its length on the wire and its place in the struct.
func TestPropertiesAgainstSpec(t *testing.T) {
	s := readSpec(t)
	for _, class := range s.Classes {
		if class.Name != "basic" {
			continue
		}
		if class.Index != ClassBasic {
			t.Errorf("class basic: got %d, want %d", ClassBasic, class.Index)
		}
		full := reflect.ValueOf(fullProperties())
		for i, f := range class.Fields {
			if f.Name == "reserved" { // the cluster id
				if i+1 != full.NumField() { // after them there is ZeroPriority
					t.Errorf("Properties has %d fields, want %d", full.NumField(), i+1)
				}
				continue
			}
			if goName := full.Type().Field(i).Name; !sameName(f.Name, goName) {
				t.Errorf("field %d is %s, want %s", i, goName, f.Name)
			}
			var one Properties
			reflect.ValueOf(&one).Elem().Field(i).Set(full.Field(i))
			b, err := AppendProperties(nil, &one)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := uint16(b[0])<<8|uint16(b[1]), uint16(1)<<(15-i); got != want {
				t.Errorf("%s: flags are %#04x, want %#04x", f.Name, got, want)
			}
			b = b[2:]
			ok := map[string]bool{
				"shortstr":  len(b) > 1 && int(b[0]) == len(b)-1,
				"octet":     len(b) == 1,
				"timestamp": len(b) == 8,
				"table":     len(b) > 4 && int(b[2])<<8|int(b[3]) == len(b)-4,
			}[s.typeOf(f)]
			if !ok {
				t.Errorf("%s: % x is no %s", f.Name, b, s.typeOf(f))
			}
		}
	}
}
