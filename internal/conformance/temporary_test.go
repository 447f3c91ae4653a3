package conformance

import (
	"net/url"
	"strings"
	"testing"

	"github.com/thumpmq/thump"
)

// TestTemporary asks brokers for what they refuse, and tells what may be granted later from
// what may not.
func TestTemporary(t *testing.T) {
	t.Parallel()
	eachStreamRig(t, func(r *rig) {
		ctx, dead := r.Context(), deadAddress(r)
		dial := func(list ...string) error {
			client, err := thump.Dial(ctx, urls(list...))
			if err == nil {
				_ = client.Close(ctx)
			}
			return err
		}
		admin, _ := url.Parse(r.broker.URL)
		vhost, limited := unique("vhost"), unique("limited")
		for _, name := range []string{vhost, limited} {
			r.manage("PUT", "vhosts/"+name, map[string]string{})
			defer r.manage("DELETE", "vhosts/"+name, nil)
			r.manage("PUT", "permissions/"+name+"/"+admin.User.Username(), map[string]string{"configure": ".*", "write": ".*", "read": ".*"})
		}
		r.manage("PUT", "vhost-limits/"+limited+"/max-connections", map[string]int{"value": 0})
		at := func(rawURL, vhost string) string { return strings.TrimSuffix(rawURL, "/") + "/" + vhost }

		stranger, poor, few := unique("stranger"), unique("poor"), unique("few")
		r.user(stranger, "secret1234", "")
		r.user(poor, "secret1234", "^nothing$")
		r.user(few, "secret1234", ".*")
		r.manage("PUT", "user-limits/"+few+"/max-connections", map[string]int{"value": 0})
		weak := r.dial(urls(r.as(poor, "secret1234"), r.streamAs(poor, "secret1234")))
		queue, stream := r.classicQueue(), r.stream(thump.StreamSpec{})
		first := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Exclusive: true})

		consumer := func(client *thump.Client, cfg thump.ConsumerConfig) error {
			_, err := client.Consumer(ctx, cfg)
			return err
		}
		publisher := func(client *thump.Client, to thump.Target) error {
			_, err := client.Publisher(ctx, thump.PublisherConfig{To: to})
			return err
		}
		declare := func(spec thump.QueueSpec) error {
			_, err := r.client.DeclareQueue(ctx, spec)
			return err
		}
		for _, test := range []struct {
			name string
			err  error
			want bool
			says string
		}{
			{"a wrong password", dial(r.as(stranger, "wrong")), false, "403"},
			{"a wrong password, streams", dial(r.streamAs(stranger, "wrong")), false, " 8, "},
			{"no vhost", dial(at(r.broker.URL, "none")), false, "530"},
			{"no vhost, streams", dial(at(r.broker.StreamURL, "none")), false, " 12, "},
			{"no access to the vhost", dial(r.as(stranger, "secret1234")), false, ""},
			{"no access to the vhost, streams", dial(r.streamAs(stranger, "secret1234")), false, " 12, "},
			{"no permission", consumer(weak, thump.ConsumerConfig{From: thump.Queue(queue)}), false, "403"},
			{"no permission, streams", publisher(weak, thump.Stream(stream)), false, " 16, "},
			{"no queue", consumer(r.client, thump.ConsumerConfig{From: thump.Queue(unique("none"))}), false, "404"},
			{"arguments over a frame", consumer(r.client, thump.ConsumerConfig{From: thump.Queue(queue), Arguments: thump.NewTable("large", strings.Repeat("x", 200_000))}), false, "over the limit of"},
			{"a queue over a frame", declare(thump.QueueSpec{Name: unique("large"), Arguments: thump.NewTable("large", strings.Repeat("x", 200_000))}), false, "over the limit of"},
			{"no stream", publisher(r.client, thump.Stream(unique("none"))), false, " 2, "},
			{"other settings", declare(thump.QueueSpec{Name: queue, Kind: thump.Quorum}), false, "406"},
			{"other settings, streams", r.client.DeclareStream(ctx, thump.StreamSpec{Name: stream, MaxBytes: 1e9}), false, " 17, "},
			{"all refuse", dial(r.as(stranger, "wrong"), at(r.broker.URL, "none")), false, "530"},

			{"nobody listens", dial("amqp://guest:secret1234@" + dead), true, "refused"},
			{"nobody listens, streams", dial("rabbitmq-stream://guest:secret1234@" + dead), true, "refused"},
			{"one refuses, and nobody listens", dial(r.as(stranger, "wrong"), "amqp://"+dead), true, "403"},
			{"a full vhost", dial(at(r.broker.URL, limited)), true, "limit"},
			{"a user with too many connections", dial(r.as(few, "secret1234")), true, "limit"},
			{"another's exclusive consumer", consumer(r.client, thump.ConsumerConfig{From: thump.Queue(queue)}), true, "exclusive use"},
			{"a certificate of nobody", dial(r.broker.TLSURL), true, "TLS"},
		} {
			r.says(test.err, test.says)
			if got := thump.Temporary(test.err); got != test.want {
				r.Errorf("%s: Temporary is %t of %v", test.name, got, test.err)
			}
		}
		r.noError(first.Close(ctx))
	})
}
