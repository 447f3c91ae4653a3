//go:build race

package hostiletest

// slowness is by how much everything may take longer: the race detector makes it so.
const slowness = 5
