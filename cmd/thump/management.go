package main

import (
	"cmp"
	"net"
	"net/url"
	"strings"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/management"
)

const managementHelp = "RabbitMQ's management API, http://host:15672 or with user:password@ (default: " + managementVariable + " where no flag names a broker, else the broker's host at port 15672, or with amqps 15671, as the same user)"

// management makes a client of the management API of a broker, at the URL that a flag names
// or else where it usually is, and says which vhost the broker's URL names.
func (t target) management(u *ui, named string) (api *management.Client, vhost string, err error) {
	endpoint, err := thump.ParseURL(t.url)
	if err != nil {
		return nil, "", usageError{err}
	}
	cfg := management.Config{User: endpoint.User, Password: endpoint.Password, CACertFile: endpoint.CACertFile}
	named = cmp.Or(named, t.managementURL)
	switch {
	case named != "":
		if err := useURL(&cfg, named); err != nil {
			return nil, "", err
		}
	case t.node != nil:
		cfg.Dial = t.node.DialContext // no password to somebody who has taken its port
		if err := useURL(&cfg, t.node.ManagementURL); err != nil {
			return nil, "", err
		}
	case endpoint.TLS:
		cfg.URL = "https://" + net.JoinHostPort(endpoint.Host, "15671")
	default:
		cfg.URL = "http://" + net.JoinHostPort(endpoint.Host, "15672")
	}
	if api, err = management.New(cfg); err != nil {
		return nil, "", usageError{err}
	}
	u.warnOfClearText(thump.Endpoint{Host: hostOf(cfg.URL), TLS: strings.HasPrefix(cfg.URL, "https:")})
	return api, endpoint.Vhost, nil
}

// useURL takes the address of the management API from a URL, and the user where that
// names one.
func useURL(cfg *management.Config, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return usagef("the URL of the management API is none") // not repeated: it may hold a password
	}
	if u.User != nil {
		cfg.User = u.User.Username()
		cfg.Password, _ = u.User.Password()
	}
	u.User = nil
	cfg.URL = u.String()
	return nil
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.Hostname()
}
