package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// javaCommand is this test program's name when it is Java.
const javaCommand = "java"

// fakeJava is a tool that found its URL where it is told, and ran well.
func fakeJava() int {
	url, sample := os.Getenv(perfTestEnvPrefix+"URI"), perfTestSample
	if i := slices.IndexFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "@") }); i > 0 {
		file, _ := os.ReadFile(os.Args[i][1:])
		url, sample = strings.TrimPrefix(string(file), "--uris\n"), streamPerfTestSample
	}
	switch {
	case strings.Contains(strings.Join(os.Args, " "), "secret"):
		fmt.Println("the password is on the command line")
	case !strings.Contains(url, "u:secret@h"):
		fmt.Println("there is no URL")
	case slices.Contains(os.Args, "nowhere"):
		fmt.Println("no such queue")
	default:
		fmt.Print(sample)
		return 0
	}
	return 1
}

func TestJavaToolRun(t *testing.T) {
	folder := t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(folder, javaCommand)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
	cfg := config{cache: t.TempDir(), dir: t.TempDir(), perfTestVersion: "1", streamPerfTestVersion: "2"}
	both := scenario{Sends: true, Receives: true}
	for url, tt := range map[string]struct {
		tool *javaTool
		rate float64 // of the sample, when warm
	}{
		"amqp://u:secret@h/":            {newPerfTest(cfg), 100000.0 / 3},
		"rabbitmq-stream://u:secret@h/": {newStreamPerfTest(cfg), 290},
	} {
		got, err := tt.tool.run(t.Context(), both, task{URL: url, Queue: "q", Count: 1000})
		if err != nil {
			t.Errorf("%s: %v", tt.tool.name(), err)
		}
		if want := 1000 / tt.rate; math.Abs(got.Seconds-want) > 1e-9 || got.ClientCPUSeconds <= 0 {
			t.Errorf("%s: got %+v, want %v seconds", tt.tool.name(), got, want)
		}
		_, err = tt.tool.run(t.Context(), both, task{URL: url, Queue: "nowhere", Count: 1000})
		if err == nil || !strings.Contains(err.Error(), "no such queue") {
			t.Errorf("%s: the error is %v, want the tool's own", tt.tool.name(), err)
		}
	}
}
