package load

import (
	"errors"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const (
	// drainTimeout is how long an interrupted sender waits for confirms.
	drainTimeout = 10 * time.Second
	// drainQuiet is how long it waits while none comes: there may be no connection, or the
	// broker blocks publishing.
	drainQuiet = 3 * time.Second
	// closeTimeout bounds the closing of a connection that has nothing in flight;
	// stoppedTimeout bounds it, and each question to the broker, once the user has ended
	// the run, and unansweredTimeout where the broker has not answered before.
	closeTimeout      = 10 * time.Second
	stoppedTimeout    = 3 * time.Second
	unansweredTimeout = 1500 * time.Millisecond
)

// connectionForced is the code with which a broker that shuts down closes connections.
const connectionForced = 320

// stopped reports whether stop is closed.
func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// judge sets the verdict of a run that ended with err.
func judge(r *result.Run, err error, interrupted bool) {
	// When the user ends a run at once, everything fails, and that is no news. What
	// the broker refused still is.
	if refusal, ok := errors.AsType[*thump.BrokerError](err); interrupted && (!ok || refusal.Code == connectionForced) {
		err = nil
	}
	r.Judge(err, interrupted)
}

func seconds(d time.Duration) *float64 { return new(d.Seconds()) }
