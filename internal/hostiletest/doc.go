// Package hostiletest tests what a hostile peer can make of thump's memory and time. A
// script of internal/fakebroker, over TCP on loopback, does what no broker should, and
// the public API is used as a program would: the heap must stay within what
// docs/memory.md promises, the call must end by its context or with an error, and the
// error must say what was wrong. It holds tests alone.
package hostiletest
