package broker

import (
	"net/url"
	"testing"
)

// TestURLNamesNoVhost: by RabbitMQ's URI specification host/ is the vhost "", and
// foreign clients that are given such a URL are refused.
func TestURLNamesNoVhost(t *testing.T) {
	st := newState()
	st.Ports.AMQP, st.Ports.Stream, st.Ports.Management = 1, 2, 3
	node := newNode("dir", st, holder{})
	for _, raw := range []string{node.URL, node.StreamURL} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if u.Path != "" {
			t.Errorf("%s has the path %q, want none", u.Redacted(), u.Path)
		}
	}
}
