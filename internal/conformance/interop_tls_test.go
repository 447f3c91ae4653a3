package conformance

import (
	"crypto/tls"
	"net"
	"net/url"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// TestInteropTLS logs in to the brokers' TLS listeners with amqp091-go: what
// brokertest promises of them holds for a client that is not thump's.
func TestInteropTLS(t *testing.T) {
	eachRig(t, func(r *rig) {
		b := r.broker
		client, err := tls.LoadX509KeyPair(b.ClientCertFile, b.ClientKeyFile)
		r.noError(err)
		address, err := url.Parse(b.TLSURL)
		r.noError(err)
		for _, host := range []string{"127.0.0.1", "localhost"} {
			byCertificate := r.roots(b.CAFile)
			byCertificate.Certificates, byCertificate.ServerName = []tls.Certificate{client}, host
			conn, err := amqp091.DialTLS_ExternalAuth("amqps://"+net.JoinHostPort(host, address.Port())+"/", byCertificate)
			if err != nil {
				r.Errorf("logging in to %s by certificate: %v", host, err)
				continue
			}
			r.noError(conn.Close())
		}
		conn, err := amqp091.DialTLS(b.TLSURL, r.roots(b.CAFile))
		r.noError(err)
		r.noError(conn.Close())
		if _, err := tls.Dial("tcp", address.Host, nil); err == nil {
			r.Error("a client that doesn't know the authority trusts the broker")
		}
	})
}
