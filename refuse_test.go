package thump

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// TestRefusals: what RabbitMQ would not take, or would not mean, is refused, in these
// words; what it takes is not.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("k", 256)
	with := func(p Properties) Message { return Message{Properties: &p} }
	header := func(key string, v any) Message { return with(Properties{Headers: Table{{Key: key, Value: v}}}) }
	deep := func(levels int) any {
		v := any("bottom")
		for i := range levels {
			if v = any([]any{v}); i%2 == 0 {
				v = Table{{Key: "t", Value: v.([]any)[0]}}
			}
		}
		return v
	}
	itself := Table{{Key: "self"}, {Key: "self"}}
	itself[0].Value, itself[1].Value = itself, itself

	amqp := messageRules{limit: 1000, user: "app"}
	named := messageRules{limit: 1000, stream: &StreamPublishing{Name: "n", Filtered: true}, addresses: true}
	stream := messageRules{limit: 1000, stream: &StreamPublishing{}}
	old := messageRules{limit: 1000, stream: &StreamPublishing{}, before313: true}

	const none = "" // it is not refused
	for i, test := range []struct {
		m    Message
		amqp string
		// Over the stream protocol; "=" for the same.
		stream string
	}{
		{Message{}, none, none},
		{Message{Body: make([]byte, 1000)}, none, none},
		{Message{Body: make([]byte, 1001)}, "a body of 1001 bytes is over the limit of 1000 (MaxMessageBytes)", "="},
		{Message{Body: make([]byte, 992), Properties: &Properties{Format: FormatString}}, none, none},
		{Message{Body: make([]byte, 993), Properties: &Properties{Format: FormatString}}, "a body of 1001 bytes is over the limit of 1000 (MaxMessageBytes)", none},
		{Message{Body: make([]byte, 993), Properties: &Properties{Format: FormatBinary}}, "a body of 1001 bytes is over the limit of 1000 (MaxMessageBytes)", none},
		{Message{Exchange: "amqp://u:sesame@host\n"}, "the Exchange is a URL that begins with amqp://: where to connect is in Config.URLs", "="},
		{Message{RoutingKey: long}, "the RoutingKey is 256 bytes long, at most 255 are allowed", none},
		{Message{RoutingKey: "a\r\n\x00"}, none, none},
		{Message{Exchange: long}, "the Exchange is 256 bytes long, at most 255 are allowed", fmt.Sprintf("the message names exchange %q, and a stream has none", long)},
		{Message{Exchange: "orders\n"}, `the Exchange "orders\n" has a line break: RabbitMQ removes those when an exchange is declared, so there is none of that name`, `the message names exchange "orders\n", and a stream has none`},
		{Message{PublishingID: 1}, none, "the message has a PublishingID, and the publisher no Stream.Name to remember it by"},
		{Message{FilterValue: "f"}, none, "the message has a FilterValue, and the publisher is not Stream.Filtered"},
		{with(Properties{}), none, none},
		{with(Properties{MessageID: long}), "Properties.MessageID is 256 bytes long, at most 255 are allowed", "="},
		{with(Properties{MessageID: long[1:], AppID: long}), "Properties.AppID is 256 bytes long, at most 255 are allowed", "="},
		{with(Properties{DeliveryMode: Transient, Priority: 255}), none, none},
		{with(Properties{DeliveryMode: 3}), "Properties.DeliveryMode is 3: it is Persistent, Transient, or 0 for Persistent", "="},
		{with(Properties{Expiration: ExpireAtOnce}), none, none},
		{with(Properties{Expiration: 3650 * 24 * time.Hour}), none, "Properties.Expiration is 87600h0m0s, and the longest that a stream keeps is 1193h2m47.295s"},
		{with(Properties{Expiration: 3650*24*time.Hour + 1}), "Properties.Expiration is 87600h0m0.000000001s, and the longest that RabbitMQ takes is 87600h0m0s", "="},
		{with(Properties{UserID: "app"}), none, none},
		{with(Properties{UserID: "root"}), `Properties.UserID is "root", and the connection logged in as "app": RabbitMQ would close the channel (PublisherConfig.AnyUserID is for those whom it lets)`, none},
		{with(Properties{ReplyTo: "amq.rabbitmq.reply-to"}), `Properties.ReplyTo is "amq.rabbitmq.reply-to", which needs a consumer on the publisher's own channel, and that has none: name a queue instead`, none},
		{with(Properties{ReplyTo: "amq.rabbitmq.reply-to.x"}), none, none},
		{with(Properties{ReplyTo: "\xff"}), `Properties.ReplyTo is "\xff", which is not UTF-8: RabbitMQ would close the connection where a stream gets the message`, none},
		{Message{Body: []byte("text"), Properties: &Properties{Type: "amqp-1.0"}}, `Properties.Type is "amqp-1.0", which says that the body is of AMQP 1.0 sections, and it is not: RabbitMQ would close the connection where a stream gets the message`, none},
		{Message{Body: []byte("\x00\x53\x77\xa1\x02hi"), Properties: &Properties{Type: "amqp-1.0"}}, none, none},

		{Message{Body: []byte("ä"), Properties: &Properties{Format: FormatString, Type: "amqp-1.0"}}, none, none},
		{Message{Body: []byte("\xff"), Properties: &Properties{Format: FormatString}}, "Properties.Format is string, and the Body can't be read as one", "="},
		{Message{Body: []byte("\xff"), Properties: &Properties{Format: FormatBinary, Type: "mine"}}, `Properties.Format is binary, which takes the place of Properties.Type, and that is "mine"`, none},
		{Message{Body: []byte("\x00\x53\x77\x41"), Properties: &Properties{Format: FormatValue}}, none, none},
		{Message{Body: []byte("\x00\x53\x77\x41"), Properties: &Properties{Format: FormatSequence}}, "Properties.Format is AMQP 1.0 sequence, and the Body can't be read as one", "="},
		{Message{Body: []byte("\x00\x53\x77\x41\x00\x53\x78\x40"), Properties: &Properties{Format: FormatValue}}, "Properties.Format is AMQP 1.0 value, and the Body can't be read as one", "="},
		{Message{Body: []byte("\x00\x53\x76\xc0\x02\x01\x01"), Properties: &Properties{Format: FormatSequence}}, "Properties.Format is AMQP 1.0 sequence, and the Body can't be read as one", none},
		{with(Properties{Format: FormatRaw}), "Properties.Format is raw, which a queue can't hold", none},
		{with(Properties{Format: FormatRaw, AppID: "a"}), "Properties.Format is raw, which a queue can't hold", "Properties.Format is raw: such an entry of a stream has no other properties"},
		{with(Properties{Format: FormatBatch}), "Properties.Format is unopened batch, which a message can't hold", "="},

		{header("CC", []any{"a", "b"}), none, none},
		{header("BCC", []any{}), none, `the header "BCC" is a list, which a stream keeps only under a key that begins with "x-", and only since RabbitMQ 3.13`},
		{header("CC", Table{}), `the header "CC" is a Table: RabbitMQ routes by it, and wants a list of strings ([]any)`, `the header "CC" is a Table, which a stream keeps only under a key that begins with "x-", and only since RabbitMQ 3.13`},
		{header("CC", "a"), `the header "CC" is a string: RabbitMQ routes by it, and wants a list of strings ([]any)`, none},
		{header("BCC", nil), `the header "BCC" is a nil value: RabbitMQ routes by it, and wants a list of strings ([]any)`, none},
		{header("CC", []any{"a", []byte("b")}), `the header "CC" is a list with a []uint8: RabbitMQ routes by it, and wants a list of strings ([]any)`, none},

		{header(long, 1), `the header "kkkkkkkkkkkkkkkkkkkk..." has a key of 256 bytes, at most 255 are allowed`, "="},
		{header("h", uint64(1)), `the header "h" is a uint64, which a Table can't hold`, "="},
		{header("x-h", []any{1, Table{{Key: "in", Value: []any{time.Second}}}}), `the header "x-h[1].in[0]" is a time.Duration, which a Table can't hold`, "="},
		{header("x-h", Table{{Key: "in", Value: Table{{Key: long}}}}), `the header "x-h.in.kkkkkkkkkkkkkkkkkkkk..." has a key of 256 bytes, at most 255 are allowed`, "="},
		{header("h", math.NaN()), `the header "h" is NaN: RabbitMQ closes the connection for a number that is not finite`, "="},
		{header("x-h", []any{float32(math.Inf(-1))}), `the header "x-h[0]" is -Inf: RabbitMQ closes the connection for a number that is not finite`, "="},
		{header("h", math.MaxFloat64), none, none},
		{header("x-h", deep(31)), none, none},
		{header("x-h", deep(32)), `the header "x-h[0].t[0].t[0].t[0].t[0].t[0].t[0].t[0].t[0].t[0].t[0].t[0" has tables and lists nested more than 32 deep`, "="},
		{header("h", itself), `the header "h.self.self.self.self.self.self.self.self.self.self.self.sel" has tables and lists nested more than 32 deep`, "="},

		{header("h", Table{}), none, `the header "h" is a Table, which a stream keeps only under a key that begins with "x-", and only since RabbitMQ 3.13`},
		{header("h", []any{}), none, `the header "h" is a list, which a stream keeps only under a key that begins with "x-", and only since RabbitMQ 3.13`},
		{header("x-h", []any{Table{{Key: "in", Value: 1}}}), none, none},
		{header("x-h", []any{Decimal{Value: -1}}), none, `the header "x-h" is or holds a Decimal, which a stream can't keep`},
		{header("h", Decimal{Value: -1}), none, `the header "h" is or holds a Decimal, which a stream can't keep`},
	} {
		want := test.stream
		if want == "=" {
			want = test.amqp
		}
		for _, c := range []struct {
			rules messageRules
			want  string
		}{{amqp, test.amqp}, {stream, want}} {
			got := ""
			if err := c.rules.check(&test.m); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%d, %+v:\ngot  %s\nwant %s", i, c.rules, got, c.want)
			}
		}
	}

	for i, test := range []struct {
		rules messageRules
		m     Message
		want  string
	}{
		{named, Message{PublishingID: 1, FilterValue: long[1:]}, none},
		{named, Message{FilterValue: long}, "the FilterValue is 256 bytes long, at most 255 are allowed"},
		{messageRules{before4: true}, with(Properties{Format: FormatBinary}), "Properties.Format is binary: only RabbitMQ 4.0 and later takes that for a queue or an exchange"},
		{messageRules{}, with(Properties{UserID: "root"}), none}, // a login with a certificate, or AnyUserID
		{old, with(Properties{Expiration: 3650 * 24 * time.Hour}), none},
		{old, header("x-h", []any{}), `the header "x-h" is a list, which a stream keeps only under a key that begins with "x-", and only since RabbitMQ 3.13`},
		{old, header("CC", []any{}), `the header "CC" is a list, which a stream keeps only under a key that begins with "x-", and only since RabbitMQ 3.13`},
	} {
		got := ""
		if err := test.rules.check(&test.m); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%d:\ngot  %s\nwant %s", i, got, test.want)
		}
	}
	for i, sentence := range faults {
		if sentence == "" {
			t.Errorf("fault %d has no sentence", i)
		}
	}
}
