package dump

import (
	"context"
	"errors"
	"time"
)

// ErrInterrupted is the error of what was asked to end early.
var ErrInterrupted = errors.New("interrupted")

// unlessInterrupted returns ctx, which also ends some time after interrupted, which may be nil,
// was closed: its cause is ErrInterrupted then.
func unlessInterrupted(ctx context.Context, interrupted <-chan struct{}, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-interrupted:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(grace):
			cancel(ErrInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// isClosed reports whether a channel, which may be nil, is closed.
func isClosed(interrupted <-chan struct{}) bool {
	select {
	case <-interrupted:
		return true
	default:
		return false
	}
}
