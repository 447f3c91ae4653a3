package amqpproto

import (
	"flag"
	"os"
	"testing"
)

// TestMain adds -update, which rewrites the golden files in testdata.
func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite the golden files in testdata")
	os.Exit(m.Run())
}
