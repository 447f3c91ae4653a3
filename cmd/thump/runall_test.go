package main

import (
	"errors"
	"testing"

	"github.com/thumpmq/thump/internal/result"
)

// TestSetError ends a command with several runs as the worst of them ended.
func TestSetError(t *testing.T) {
	failed := errors.New("quorum: connection refused")
	tests := []struct {
		verdicts []result.Verdict
		failed   error
		code     int
	}{
		{[]result.Verdict{result.OK, result.OK, result.OK}, nil, exitOK},
		{[]result.Verdict{result.OK, result.OK, result.OK}, errors.New("the stream is still there"), exitFailed},
		{[]result.Verdict{result.OK, result.Interrupted}, errInterrupted, exitInterrupted},
		{[]result.Verdict{result.OK, result.Failed, result.OK}, failed, exitFailed},
		{[]result.Verdict{result.Failed, result.Interrupted}, failed, exitFailed},
		{[]result.Verdict{result.OK, result.Failed, result.Violated}, failed, exitViolated},
	}
	for _, tt := range tests {
		var runs []*result.Result
		for _, v := range tt.verdicts {
			runs = append(runs, &result.Result{Verdict: v})
		}
		err := setError(result.NewSet(runs), tt.failed)
		code := exitOK
		if err != nil {
			code = exitCode(err)
		}
		if code != tt.code {
			t.Errorf("%v, %v: exit code %d (%v), want %d", tt.verdicts, tt.failed, code, err, tt.code)
		}
	}
}
