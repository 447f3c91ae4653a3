//go:build !linux && !darwin

package broker

import (
	"context"
	"errors"
	"runtime"
)

var errUnsupported = errors.New("broker: thump runs RabbitMQ nodes of its own on Linux and macOS only, not on " +
	runtime.GOOS + "; name a running RabbitMQ instead (--url)")

// Start returns an error: this system is not supported.
func Start(context.Context, Options) (*Node, error) { return nil, errUnsupported }

// Open returns ErrNotRunning: this system is not supported.
func Open(string) (*Node, error) { return nil, ErrNotRunning }

// Stop does nothing: there is no node on this system.
func (n *Node) Stop(context.Context) error { return nil }

// Kill does nothing: there is no node on this system.
func (n *Node) Kill() error { return nil }

// Running is false: there is no node on this system.
func (n *Node) Running() bool { return false }

// CPUSeconds is not known: there is no node on this system.
func (n *Node) CPUSeconds() (seconds float64, ok bool) { return 0, false }

// Ctl returns an error: there is no node on this system.
func (n *Node) Ctl(context.Context, ...string) (string, error) { return "", errUnsupported }

func (p process) alive() bool { return false }

func memoryTotalBytes() int64 { return 0 }

// DiskFree is not known: there is no node on this system.
func (n *Node) DiskFree() (bytes uint64, ok bool) { return 0, false }
