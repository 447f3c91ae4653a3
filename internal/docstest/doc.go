// Package docstest tests the manual, which is README.md and docs/: its Go compiles,
// thump accepts its command lines, and its links lead somewhere. It holds tests
// alone.
package docstest
