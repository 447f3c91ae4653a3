package brokertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/thumpmq/thump/internal/broker"
)

// tlsUser logs in by client certificate.
const tlsUser = "thump-tls-client"

// StartShared starts a node for scripts/with-brokers, with TLS listeners whose
// certificate ca signs. chroot is a tree with a RabbitMQ in it; empty, it means the
// installed one. After an error nothing is left of the node; otherwise the caller ends
// it with EndShared. It ends with this process, too, however that ends.
func StartShared(ctx context.Context, chroot string, ca *Authority) (b Broker, err error) {
	dir, err := TempDir(chroot)
	if err != nil {
		return b, err
	}
	b = Broker{Dir: dir, Chroot: chroot}
	defer func() {
		if err != nil {
			err = errors.Join(err, EndShared(b))
		}
	}()
	port, err := broker.FreePort()
	if err != nil {
		return b, err
	}
	streamPort, err := broker.FreePort()
	if err != nil {
		return b, err
	}
	config, err := tlsConfig(dir, chroot, port, streamPort, ca)
	if err != nil {
		return b, err
	}
	node, err := broker.Start(ctx, broker.Options{
		Dir:         dir,
		Chroot:      chroot,
		Attached:    true,
		Plugins:     []string{"rabbitmq_auth_mechanism_ssl"},
		ExtraConfig: config,
	})
	if err != nil {
		return b, err
	}
	series := strings.SplitN(node.Version, ".", 3)
	b.Name = strings.Join(series[:min(2, len(series))], ".")
	b.Version = node.Version
	b.URL, b.StreamURL, b.ManagementURL = node.URL, node.StreamURL, node.ManagementURL
	secure, err := url.Parse(node.URL)
	if err != nil {
		return b, err
	}
	secure.Scheme, secure.Host = "amqps", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	b.TLSURL, b.TLSUser = secure.String(), tlsUser
	secure.Scheme, secure.Host = "rabbitmq-stream+tls", net.JoinHostPort("127.0.0.1", strconv.Itoa(streamPort))
	b.StreamTLSURL = secure.String()
	b.CAFile, b.ClientCertFile, b.ClientKeyFile = ca.CAFile, ca.ClientCertFile, ca.ClientKeyFile
	return b, addTLSUser(ctx, b)
}

// EndShared kills the node and removes its folder. It is not an error if the node has
// ended already.
func EndShared(b Broker) error {
	node, err := broker.Open(b.Dir)
	if err == nil {
		err = node.Kill()
	} else if errors.Is(err, broker.ErrNotRunning) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(b.Dir))
}

// tlsConfig writes the node's certificate and returns the lines of rabbitmq.conf for
// its TLS listeners.
func tlsConfig(dir, chroot string, port, streamPort int, ca *Authority) (string, error) {
	folder := filepath.Join(dir, "tls")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return "", err
	}
	cert, key := filepath.Join(folder, "server.pem"), filepath.Join(folder, "server-key.pem")
	// RabbitMQ's user must read the key; others can't enter the folder.
	if err := ca.issue("localhost", cert, key, 0o644); err != nil {
		return "", err
	}
	authority := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(authority, ca.pem, 0o644); err != nil {
		return "", err
	}
	inside := func(path string) string { return strings.TrimPrefix(path, strings.TrimSuffix(chroot, "/")) }
	return fmt.Sprintf(`listeners.ssl.1 = 127.0.0.1:%d
stream.listeners.ssl.1 = 127.0.0.1:%d
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
`, port, streamPort, inside(authority), inside(cert), inside(key)), nil
}

func addTLSUser(ctx context.Context, b Broker) error {
	_, err := manage(ctx, b.ManagementURL, "PUT", "users/"+tlsUser, map[string]string{"password_hash": "", "tags": ""})
	if err != nil {
		return err
	}
	everything := map[string]string{"configure": ".*", "write": ".*", "read": ".*"}
	_, err = manage(ctx, b.ManagementURL, "PUT", "permissions/%2F/"+tlsUser, everything)
	return err
}
