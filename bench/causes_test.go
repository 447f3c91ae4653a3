package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/pprof/profile"
)

// profileOf is a CPU profile with a sample for each stack, the innermost function first.
func profileOf(stacks ...[]string) *profile.Profile {
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"}, Period: 10e6,
	}
	for _, stack := range stacks {
		sample := &profile.Sample{Value: []int64{1, 10e6}}
		for _, name := range stack {
			f := &profile.Function{ID: uint64(len(p.Function) + 1), Name: name}
			l := &profile.Location{ID: uint64(len(p.Location) + 1), Line: []profile.Line{{Function: f}}}
			p.Function, p.Location = append(p.Function, f), append(p.Location, l)
			sample.Location = append(sample.Location, l)
		}
		p.Sample = append(p.Sample, sample)
	}
	return p
}

func TestSpentOn(t *testing.T) {
	p := profileOf(
		[]string{"internal/runtime/syscall/linux.Syscall6", "internal/poll.(*FD).Write", module + "/internal/transport.(*Conn).writeLoop"},
		[]string{"runtime.memmove", module + "/internal/streamproto.AppendBatchedBodies"},
		[]string{module + "/internal/streamproto.AppendBatchedBodies", module + "/internal/streamconn.(*batcher).appendRun", "main.main"},
		[]string{"runtime.mallocgc", module + ".(*Consumer).next", "main.main"},
		[]string{module + "/internal/ledger.(*Consumer).Add", "main.main"},
		[]string{"runtime.findRunnable", "runtime.mcall"},
		[]string{"runtime.findRunnable", "runtime.mcall"},
	)
	s := scenario{Name: "stream-publish", Sends: true}
	folder := t.TempDir()
	f, err := os.Create(filepath.Join(folder, profileName("thump", s, roleSend)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := spentOn(folder, s, &cell{Peer: "thump", Count: 10e6})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	writeSpent(&out, s, all)
	want := "  thump, send: 7.0 ns a message (7 samples): Go's runtime 2.0, bodies made or checked 1.0, " +
		"bytes to messages and back 1.0, copying 1.0, package thump 1.0, system calls 1.0\n"
	if out.String() != want {
		t.Errorf("it says\n%s, want\n%s", out.String(), want)
	}
	if none, err := spentOn(folder, s, &cell{Peer: "pika", Count: 1}); err != nil || none != nil {
		t.Errorf("a peer without a profile: %v, %v", none, err)
	}
}
