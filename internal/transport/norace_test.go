//go:build !race

package transport_test

// newBuffers is how many bytes of buffers may be made where 200 MB come and each is used
// again.
const newBuffers = 110 << 20
