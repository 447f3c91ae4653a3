//go:build !race

package hostiletest

// slowness is by how much everything may take longer.
const slowness = 1
