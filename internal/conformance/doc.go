// Package conformance tests what the public API of thump promises: one suite of
// cases for every engine, queue kind and broker version, and the interoperation
// with foreign clients. It holds tests alone.
package conformance
