package streamconn

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// TestSupports asks brokers of several versions, by what they answered at login,
// for what they have. RabbitMQ does not list all of it.
func TestSupports(t *testing.T) {
	at := func(version string, without ...streamproto.Key) fakebroker.StreamGreeting {
		g := fakebroker.LikelyStream()
		g.Properties[1].Value = version
		var commands []streamproto.CommandVersion
		for _, c := range g.Commands {
			for _, key := range without {
				if c.Key == key {
					c.Max = 0
				}
			}
			if c.Key == streamproto.KeyPublish && strings.HasPrefix(version, "3.11") {
				c.Max = 1
			}
			if c.Max > 0 {
				commands = append(commands, c)
			}
		}
		g.Commands = commands
		return g
	}
	for _, test := range []struct {
		greeting                              fakebroker.StreamGreeting
		filter, single, stats, super, resolve bool
	}{
		{fakebroker.OldStream(), false, false, false, false, false},
		{at("3.11.28", streamproto.KeyCreateSuperStream, streamproto.KeyDeleteSuperStream, streamproto.KeyResolveOffsetSpec), false, true, true, false, false},
		{at("3.13.7", streamproto.KeyResolveOffsetSpec), true, true, true, true, false},
		{at("4.0.5", streamproto.KeyResolveOffsetSpec), true, true, true, true, false},
		{at("4.3.0"), true, true, true, true, true},
		{at("4.3.0-rc.1"), true, true, true, true, true},
		{at("5.0"), true, true, true, true, true},
	} {
		version := test.greeting.Properties[1].Value
		t.Run(version, func(t *testing.T) {
			pairAs(t, test.greeting, func(s *fakebroker.StreamSession) { s.Serve(nil) }, func(t *testing.T, conn *Conn) {
				if conn.Server().Version != version {
					t.Errorf("version %q", conn.Server().Version)
				}
				for _, feature := range []struct {
					name  string
					key   streamproto.Key
					v     uint16
					want  bool
					needs string
				}{
					{"streams", streamproto.KeySubscribe, 1, true, ""},
					{"filtering", streamproto.KeyPublish, 2, test.filter, "3.13"},
					{"a single active consumer", streamproto.KeyConsumerUpdate, 1, test.single, "3.11"},
					{"statistics", streamproto.KeyStreamStats, 1, test.stats, "3.11"},
					{"a super stream", streamproto.KeyCreateSuperStream, 1, test.super, "3.13"},
					{"deleting a super stream", streamproto.KeyDeleteSuperStream, 1, test.super, "3.13"},
					{"offsets", streamproto.KeyResolveOffsetSpec, 1, test.resolve, "4.3"},
				} {
					err := conn.Server().Supports(feature.name, feature.key, feature.v)
					var old *VersionError
					if (err == nil) != feature.want || err != nil && (!errors.As(err, &old) ||
						old.Error() != feature.name+" needs RabbitMQ "+feature.needs+" or later, and this broker is "+version) {
						t.Errorf("%s: %v, want it to be there: %v", feature.name, err, feature.want)
					}
				}
				conntest.Goodbye(t, conn)
			})
		})
	}
}

// TestOldBroker: what RabbitMQ 3.10 lacks is never sent to it, since it would
// close the connection.
func TestOldBroker(t *testing.T) {
	pairAs(t, fakebroker.OldStream(), func(s *fakebroker.StreamSession) {
		fakebroker.ExpectCommand[*streamproto.Close](s)
		s.Close()
	}, func(t *testing.T, conn *Conn) {
		for _, r := range []streamproto.Request{
			&streamproto.StreamStats{Stream: "x"}, &streamproto.CreateSuperStream{Name: "x"},
			&streamproto.DeleteSuperStream{Name: "x"}, &streamproto.ResolveOffsetSpec{Stream: "x"},
		} {
			var old *VersionError
			if _, err := conn.Call(t.Context(), r); !errors.As(err, &old) || old.Version != "3.10.8" {
				t.Errorf("%v: %v", r.Key(), err)
			}
		}
		var old *VersionError
		if _, err := conn.Publisher(t.Context(), NewBacklog(PublisherConfig{Stream: "x", Window: newWindow(1, false), SubEntry: 1, Filtered: true, Ended: func(error) {}})); !errors.As(err, &old) || old.Needs != "3.13" {
			t.Errorf("a filtered publisher: %v", err)
		}
		if err := conn.UpdateSecret(t.Context(), "x"); !errors.As(err, &old) || old.Needs != "3.13" {
			t.Errorf("a new secret: %v", err)
		}
		_ = conn.Close(t.Context()) // the script hangs up instead of answering
	})
}

// TestWhatTheBrokerSays: its name, version, cluster and place.
func TestWhatTheBrokerSays(t *testing.T) {
	for port, want := range map[string]int{"5552": 5552, "": 0, "65536": 0, "-1": 0, "x": 0} {
		g := fakebroker.LikelyStream()
		g.Open[1].Value = port
		pairAs(t, g, func(s *fakebroker.StreamSession) {
			if s.Open.VirtualHost != "/" || len(s.Peer.Properties) != 3 || s.Peer.Properties[2] != (streamproto.Property{Key: "connection_name", Value: "test"}) {
				t.Errorf("the client said %+v, %+v", s.Open, s.Peer)
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			s := conn.Server()
			if s.Product != "fakebroker" || s.Version != "4.3.0" || s.Cluster != "fake@stream.test" ||
				s.AdvertisedHost != "stream.test" || s.AdvertisedPort != want || s.FrameMax != 1<<20 || s.Heartbeat != time.Minute {
				t.Errorf("got %+v", s)
			}
			conntest.Goodbye(t, conn)
		})
	}
}
