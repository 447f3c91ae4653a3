package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestRecordError: a command with several runs ends as the worst of them.
func TestRecordError(t *testing.T) {
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
		var runs []*result.Run
		for _, v := range tt.verdicts {
			runs = append(runs, &result.Run{Verdict: v})
		}
		err := recordError(result.New(runs...), tt.failed)
		code := exitOK
		if err != nil {
			code = exitCode(err)
		}
		if code != tt.code {
			t.Errorf("%v, %v: exit code %d (%v), want %d", tt.verdicts, tt.failed, code, err, tt.code)
		}
	}
}

// TestErrorText: the name stands at the beginning, and nowhere else.
func TestErrorText(t *testing.T) {
	library := errors.New(`thump: deleting queue "hello": connection refused`)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("--url is empty"), "thump: --url is empty"},
		{library, `thump: deleting queue "hello": connection refused`},
		{fmt.Errorf("the queue is still there: %w", library), `thump: the queue is still there: deleting queue "hello": connection refused`},
		{fmt.Errorf("classic: %w", fmt.Errorf("the queue is still there: %w", library)), `thump: classic: the queue is still there: deleting queue "hello": connection refused`},
	} {
		if got := errorText(tt.err); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
