// Package mutate runs fuzz targets many times faster than the go command does, and
// without its guidance: for the hundred millions of executions that come after guided
// fuzzing has grown a corpus.
package mutate

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
)

//nolint:gochecknoglobals // flags of a test binary
var (
	times = flag.Int("mutations", 0, "run each input of a fuzz target's corpus this many times, changed at random each time")
	seed  = flag.Uint64("mutation-seed", 1, "what -mutations draws from")
)

// Fuzz is f.Fuzz, unless the flag -mutations is set: then target gets each input of the
// corpus that many times, changed at random.
func Fuzz(f *testing.F, target any) {
	f.Helper()
	if *times == 0 {
		f.Fuzz(target)
		return
	}
	var executions, inputs atomic.Uint64
	call := reflect.ValueOf(target)
	f.Fuzz(reflect.MakeFunc(call.Type(), func(args []reflect.Value) []reflect.Value {
		m := mutation{random: rand.New(rand.NewPCG(*seed, inputs.Add(1))), original: args[1:]}
		t := args[0].Interface().(*testing.T)
		now := []reflect.Value{args[0]}
		defer func() {
			if broken := recover(); broken != nil || t.Failed() {
				t.Fatalf("seed %d: %v\ninput: %s", *seed, broken, text(now[1:]))
			}
		}()
		for range *times {
			now = m.next(now[:1])
			call.Call(now)
			executions.Add(1)
			if t.Failed() {
				break
			}
		}
		return nil
	}).Interface())
	f.Cleanup(func() { fmt.Printf("%s: %d executions of %d inputs\n", f.Name(), executions.Load(), inputs.Load()) })
}

// Allocated is how many bytes this process has allocated so far, small ones counted late: a
// span of them at a time. Unlike runtime.ReadMemStats it does not stop the world, which
// would take most of a fuzz target's time.
func Allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// mutation changes one input.
type mutation struct {
	random   *rand.Rand
	original []reflect.Value
	buffers  [8][]byte // one for each argument; a target keeps nothing
}

// next appends the arguments of another change of the original to args.
func (m *mutation) next(args []reflect.Value) []reflect.Value {
	changes := m.random.IntN(len(m.original))
	for i, v := range m.original {
		if i == changes || m.random.IntN(4) == 0 {
			v = m.change(i, v)
		}
		args = append(args, v)
	}
	return args
}

func (m *mutation) change(i int, v reflect.Value) reflect.Value {
	changed := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Slice:
		changed.SetBytes(m.bytes(i, v.Bytes()))
	case reflect.String:
		changed.SetString(string(m.bytes(i, []byte(v.String()))))
	case reflect.Int:
		changed.SetInt(int64(m.number(uint64(v.Int()), 31)))
	default: // of the unsigned
		changed.SetUint(m.number(v.Uint(), v.Type().Bits()))
	}
	return changed
}

// number changes a number of so many bits.
func (m *mutation) number(n uint64, bits int) uint64 {
	switch m.random.IntN(4) {
	case 0:
		n ^= 1 << m.random.IntN(bits)
	case 1:
		n += m.random.Uint64N(8) - 4
	case 2:
		n = m.random.Uint64N(64)
	default:
		n = m.random.Uint64() >> m.random.IntN(64)
	}
	return n & (1<<bits - 1)
}

// edges are bytes that parsers may take for a length, a sign or an end.
const edges = "\x00\x01\x7f\x80\xce\xff"

// bytes makes one to five changes.
func (m *mutation) bytes(i int, from []byte) []byte {
	b := append(m.buffers[i][:0], from...)
	for range 1 + m.random.IntN(5) {
		at := 0
		if len(b) > 0 {
			at = m.random.IntN(len(b))
		}
		switch m.random.IntN(8) {
		case 0: // cut
			b = b[:at]
		case 1: // take out
			b = append(b[:at], b[min(len(b), at+1+m.random.IntN(8)):]...)
		case 2: // repeat
			b = append(b, b[at:min(len(b), at+1+m.random.IntN(64))]...)
		case 3: // add
			for range 1 + m.random.IntN(8) {
				b = append(b, byte(m.random.Uint32()))
			}
		default:
			if len(b) > 0 {
				b[at] = m.octet(b[at])
			}
		}
	}
	m.buffers[i] = b
	return b
}

func (m *mutation) octet(b byte) byte {
	switch m.random.IntN(4) {
	case 0:
		return b ^ 1<<m.random.IntN(8)
	case 1:
		return b + byte(m.random.IntN(9)) - 4
	case 2:
		return edges[m.random.IntN(len(edges))]
	default:
		return byte(m.random.Uint32())
	}
}

// text writes arguments as Go does in a corpus.
func text(args []reflect.Value) string {
	var s strings.Builder
	for _, v := range args {
		fmt.Fprintf(&s, "\n%s(%#v)", v.Type(), v.Interface())
		if v.Kind() == reflect.Slice {
			fmt.Fprintf(&s, " = []byte(%q)", v.Bytes())
		}
	}
	return s.String()
}

// Bodies appends text cut into bodies: each byte of sizes is the size of one, of the larger in tens.
// Where too little text is left it begins again. The bodies alias the text.
func Bodies(bodies [][]byte, text, sizes []byte) [][]byte {
	at := 0
	for _, size := range sizes {
		n := int(size)
		if n >= 128 {
			n = (n - 128) * 10
		}
		if n > len(text)-at {
			at = 0
		}
		n = min(n, len(text))
		bodies = append(bodies, text[at:at+n])
		at += n
	}
	return bodies
}
