package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// napSlack is by how many nanoseconds the kernel may be late to wake a thread; unless it is
// told, by 50,000.
const napSlack = 1000

// nap sleeps for a short time, to within some ten microseconds. Go's own timers are up to a
// millisecond late on Linux, because it waits in epoll: a message that was sent by them would
// have taken most of its latency before it was sent.
func nap(d time.Duration) {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, napSlack, 0, 0, 0) // of this thread
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // a signal may end it early, and the caller looks at the clock
}
