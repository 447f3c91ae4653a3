package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/places"
	"github.com/thumpmq/thump/internal/secretfile"
)

// place is where the user's file says that a name leads.
func (w *urls) place(ctx context.Context, u *ui) (target, error) {
	list, err := places.Read()
	if err != nil {
		return target{}, fmt.Errorf("reading the places: %w", err)
	}
	p, err := list.Get(w.at)
	if err != nil {
		return target{}, usageError{err}
	}
	if p.NeedsPassword() {
		if p, err = withPassword(ctx, u, p); err != nil {
			return target{}, fmt.Errorf("the place %q: %w", w.at, err)
		}
	}
	t := target{url: p.URL, streamURL: cmp.Or(w.streamURL, p.StreamURL), managementURL: p.ManagementURL}
	if t.url == "" {
		t.url, t.streamURL = t.streamURL, ""
	}
	return t, nil
}

// withPassword reads the password of a place: the first line of a file, or of what a command
// writes.
func withPassword(ctx context.Context, u *ui, p places.Place) (places.Place, error) {
	what, read := "password-file", func() ([]byte, error) { return secretfile.Read(p.PasswordFile) }
	if p.PasswordCommand != "" {
		what, read = "password-command", func() ([]byte, error) { return u.runShell(ctx, p.PasswordCommand) }
	}
	text, err := interruptibly(ctx, read)
	if err != nil {
		return p, fmt.Errorf("%s: %w", what, err)
	}
	password, _, _ := strings.Cut(string(text), "\n")
	if password = strings.TrimSuffix(password, "\r"); password == "" {
		return p, fmt.Errorf("%s: there is no password", what)
	}
	return p.WithPassword(password)
}
