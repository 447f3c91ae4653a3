package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// errDeclined ends a command whose user has said no.
var errDeclined = errors.New("nothing was done")

// answerMax is how many bytes of an answer are read.
const answerMax = 100

// mayAsk returns an error if a command that destroys something can neither ask its user
// nor was told to go ahead.
func (u *ui) mayAsk(yes bool) error {
	if !yes && !u.canAsk() {
		return usagef("this can't be undone, and there is no terminal to ask at: give --yes to go ahead")
	}
	return nil
}

func (u *ui) canAsk() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())) //nolint:gosec // they are small
}

// confirm asks whether to go ahead, and returns errDeclined unless the answer is yes.
// ctx, or the first Ctrl-C, ends the asking.
func (u *ui) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	ctx, answered := u.starting(ctx)
	defer answered()
	u.errorf("%s [y/N] ", question)
	line, err := interruptibly(ctx, func() (string, error) {
		return bufio.NewReader(io.LimitReader(os.Stdin, answerMax)).ReadString('\n')
	})
	if err != nil && !errors.Is(err, io.EOF) {
		return u.orInterrupted(err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}
