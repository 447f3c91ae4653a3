//go:build !linux && !darwin

package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
)

var errUnsupported = errors.New("broker: thump runs RabbitMQ nodes of its own on Linux and macOS only, not on " +
	runtime.GOOS + "; name a running RabbitMQ instead (--url)")

// Start returns an error: this system is not supported.
func Start(context.Context, Options) (*Node, error) { return nil, errUnsupported }

// Open returns ErrNotRunning: this system is not supported.
func Open(string) (*Node, error) { return nil, ErrNotRunning }

// Folders finds nothing: this system is not supported.
func Folders(string) ([]string, error) { return nil, nil }

// Clean finds nothing: this system is not supported.
func Clean(string, bool) (*Leftover, error) { return nil, nil }

// Look finds nothing: this system is not supported.
func Look(dir string) (Found, error) { return Found{Dir: dir}, nil }

// OpenLog returns an error: this system is not supported.
func OpenLog(string) (*os.File, error) { return nil, errUnsupported }

// Stop does nothing: there is no node on this system.
func (n *Node) Stop(context.Context) error { return nil }

// Kill does nothing: there is no node on this system.
func (n *Node) Kill() error { return nil }

// Pause returns ErrNotRunning: there is no node on this system.
func (n *Node) Pause(context.Context) error { return ErrNotRunning }

// Resume returns ErrNotRunning: there is no node on this system.
func (n *Node) Resume(context.Context) error { return ErrNotRunning }

// Paused is false: there is no node on this system.
func (n *Node) Paused() bool { return false }

// Running is false: there is no node on this system.
func (n *Node) Running() bool { return false }

// CPUSeconds is not known: there is no node on this system.
func (n *Node) CPUSeconds() (seconds float64, ok bool) { return 0, false }

// DialContext returns an error: there is no node on this system.
func (n *Node) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errUnsupported
}

func (s state) dial(context.Context, string) (net.Conn, error) { return nil, errUnsupported }

func believe(string) error { return errUnsupported }

// Ctl returns an error: there is no node on this system.
func (n *Node) Ctl(context.Context, ...string) (string, error) { return "", errUnsupported }

type (
	keeper    struct{}
	temporary struct{}
)

func (p process) alive() bool { return false }

func memoryTotalBytes() int64 { return 0 }

// DiskFree is not known: there is no node on this system.
func (n *Node) DiskFree() (bytes uint64, ok bool) { return 0, false }
