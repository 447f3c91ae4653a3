package streamconn

import (
	"fmt"
	"strconv"
	"time"

	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/version"
)

// Server is what the broker said at login, and what was agreed on.
type Server struct {
	Product string
	Version string // "4.3.6"
	Cluster string

	// AdvertisedHost and AdvertisedPort are where this node wants to be found by
	// stream clients; empty and 0 where it does not say (PROTOCOL.adoc Open).
	AdvertisedHost string
	AdvertisedPort int

	FrameMax  uint32
	Heartbeat time.Duration

	// commands has the highest version of each command that the broker knows;
	// nil before RabbitMQ 3.11, which can't be asked.
	commands map[streamproto.Key]uint16
}

func (s *Server) setProperties(properties []streamproto.Property) {
	for _, p := range properties {
		switch p.Value = printable.Text(p.Value); p.Key {
		case "product":
			s.Product = p.Value
		case "version":
			s.Version = p.Value
		case "cluster_name":
			s.Cluster = p.Value
		}
	}
}

func (s *Server) setAdvertised(properties []streamproto.Property) {
	for _, p := range properties {
		switch p.Key {
		case "advertised_host":
			s.AdvertisedHost = printable.Text(p.Value)
		case "advertised_port":
			s.AdvertisedPort = parsePort(p.Value)
		}
	}
}

// parsePort reads a port number that the broker advertises; 0 for none.
func parsePort(text string) int {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// AtLeast reports whether the broker is of this version or a later one. A
// version that can't be read counts as old.
func (s *Server) AtLeast(major, minor int) bool {
	return version.AtLeast(s.Version, major, minor)
}

// Supports says whether the broker has version v of a command; the error is a
// *VersionError that names the RabbitMQ that has. what names the feature.
func (s *Server) Supports(what string, key streamproto.Key, v uint16) error {
	first := firstVersion(key, v)
	switch {
	case first == firstStreams:
		return nil
	case s.commands != nil && first == firstExchange:
		// Not all of these are in the broker's list (rabbit_stream_utils.erl).
		return nil
	case s.commands[key] >= v:
		return nil
	}
	return &VersionError{What: what, Needs: first, Version: s.Version}
}

func (s *Server) supports(key streamproto.Key) error { return s.Supports(key.String(), key, 1) }

const (
	firstStreams  = "3.9"
	firstExchange = "3.11" // of ExchangeCommandVersions
)

// firstVersion is the first RabbitMQ that has version v of a command
// (PROTOCOL.adoc and the release notes).
func firstVersion(key streamproto.Key, v uint16) string {
	switch key {
	case streamproto.KeyPublish:
		if v > 1 {
			return "3.13"
		}
	case streamproto.KeyConsumerUpdate, streamproto.KeyExchangeCommandVersions, streamproto.KeyStreamStats:
		return firstExchange
	case streamproto.KeyCreateSuperStream, streamproto.KeyDeleteSuperStream:
		return "3.13"
	case streamproto.KeyResolveOffsetSpec:
		return "4.3"
	}
	if v > 1 {
		return fmt.Sprintf("with version %d of the command", v)
	}
	return firstStreams
}
