package fakebroker

import (
	"strconv"
	"sync"
)

// Text is n bytes, at most 8 MiB, that differ from place to place and from message
// to message.
func Text(message uint64, n int) string {
	start := int(message%10_000) * 97
	return pattern()[start : start+n]
}

//nolint:gochecknoglobals // constant in all but syntax
var pattern = sync.OnceValue(func() string {
	b := make([]byte, 0, 10<<20)
	for len(b) < 9<<20 {
		b = append(strconv.AppendInt(b, int64(len(b)), 36), ' ')
	}
	return string(b)
})
