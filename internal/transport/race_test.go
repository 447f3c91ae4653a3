//go:build race

package transport_test

// newBuffers is how many bytes of buffers may be made where 200 MB come and each is used
// again: under the race detector a sync.Pool drops one in four on purpose, and a large
// one is dropped when little of it has been filled.
const newBuffers = 180 << 20
