package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestSaveThatFailed: that not everything is in the file is said whatever the command ends with.
func TestSaveThatFailed(t *testing.T) {
	for _, c := range []struct {
		ended error
		code  int
	}{{nil, exitFailed}, {errors.New("the broker is away"), exitFailed}, {errViolated, exitViolated}, {errInterrupted, exitFailed}} {
		f, err := createRunFile(filepath.Join(t.TempDir(), "run.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		_ = f.file.Close() // so that writing fails
		f.Begin(&result.Run{})
		err = f.closeAfter(c.ended)
		if err == nil || !strings.Contains(err.Error(), "--save: ") || exitCode(err) != c.code {
			t.Errorf("after %v: %v, exit code %d", c.ended, err, exitCode(err))
		}
		if c.ended != nil && c.code != exitFailed && !errors.Is(err, c.ended) {
			t.Errorf("%v is lost: %v", c.ended, err)
		}
	}
	var none *runFile
	if err := none.closeAfter(errViolated); !errors.Is(err, errViolated) {
		t.Errorf("got %v", err)
	}
}
