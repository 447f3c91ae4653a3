// Package version compares versions of RabbitMQ, as a broker says its own: "4.3.6", or
// "4.4.0-beta.1".
package version

import (
	"strconv"
	"strings"
)

// AtLeast reports whether a version is known and is major.minor or a later one.
func AtLeast(version string, major, minor int) bool {
	a, b, known := read(version)
	return known && (a > major || a == major && b >= minor)
}

// Before reports whether a version is known and is older than major.minor. Of a version
// that cannot be read neither AtLeast nor Before is true.
func Before(version string, major, minor int) bool {
	_, _, known := read(version)
	return known && !AtLeast(version, major, minor)
}

func read(version string) (major, minor int, known bool) {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, errMajor := strconv.Atoi(first)
	minor, errMinor := strconv.Atoi(second)
	return major, minor, errMajor == nil && errMinor == nil
}
