// Package faulttest tests what the public API of thump promises when a broker
// misbehaves in ways that a real one does not on demand: the broker is scripted,
// by internal/fakebroker. It holds tests alone.
package faulttest
