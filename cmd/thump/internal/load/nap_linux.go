package load

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps for a short time, to within some ten microseconds. Go's own timers are up to a
// millisecond late on Linux, because of how it waits for them: a message that was sent by them would
// have taken most of its latency before it was sent. While it sleeps others have the processor,
// however many sleep at once.
func nap(d time.Duration) {
	if d <= 0 {
		return
	}
	a, there := alarms.Get().(*alarm)
	if !there || a.wait(d) != nil {
		time.Sleep(d) // the kernel has no more of them
		return
	}
	alarms.Put(a)
}

// alarm is a timer of the kernel's that Go waits for as it waits for a socket.
type alarm struct {
	fd   int
	file *os.File
}

// alarms are those that nobody waits for. Where none can be made, there are none.
//
//nolint:gochecknoglobals // whoever naps has one for that time
var alarms = sync.Pool{New: func() any {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil
	}
	return &alarm{fd, os.NewFile(uintptr(fd), "timer")}
}}

func (a *alarm) wait(d time.Duration) error {
	if err := unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil); err != nil {
		return err
	}
	var expired [8]byte
	_, err := a.file.Read(expired[:])
	return err
}
