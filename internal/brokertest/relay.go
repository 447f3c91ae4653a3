package brokertest

import (
	"net"
	"net/url"
	"testing"
)

// Relay returns a URL that leads to the same broker by way of the test: for each connection to it,
// carry is called for what either side says, in a goroutine of its own. It writes to one connection
// what it reads from the other, until either ends, and then closes both.
func Relay(t testing.TB, brokerURL string, carry func(to, from net.Conn)) string {
	t.Helper()
	u, err := url.Parse(brokerURL)
	if err != nil {
		t.Fatal("the broker's URL does not parse") // it has a password
	}
	address := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			broker, err := net.Dial("tcp", address)
			if err != nil {
				_ = client.Close()
				continue
			}
			go carry(broker, client)
			go carry(client, broker)
		}
	}()
	u.Host = listener.Addr().String()
	return u.String()
}
