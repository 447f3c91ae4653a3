package filter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// order is the body of the message that the manual's examples are about.
const orderBody = `{"id": 9007199254740993, "customer": {"name": "Åsa", "country": "SE"}, "total": 129.5,
	"paid": false, "note": null, "items": [{"sku": "A-1", "count": 2}, {"sku": "B-7", "count": 1}], "tags": ["new", "gift"]}`

// published is that message, but for its exchange and routing key.
func published() thump.Message {
	return thump.Message{
		Body: []byte(orderBody),
		Properties: &thump.Properties{
			ContentType: "application/json", Type: "order.created", MessageID: "m-17", AppID: "shop", Priority: 3,
			Timestamp: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), Expiration: 90 * time.Minute,
			Headers: thump.NewTable("tenant", "acme", "attempt", int32(4), "x-ratio", float32(0.5), "urgent", true,
				"price", thump.Decimal{Scale: 2, Value: 1999}, "raw", []byte("bytes"), "none", nil,
				"trace", thump.NewTable("id", "t-1", "parents", []any{"t-0"})),
		},
	}
}

func mustParse(t testing.TB, text string) *Filter {
	t.Helper()
	f, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

// TestMatch evaluates expressions for a message that went through a broker, from a queue
// and from a stream.
func TestMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		expression string
		want       bool
	}{
		{`content_type == "application/json" and type startsWith "order." and message_id == "m-17"`, true},
		{`app_id == "shop" and priority == 3`, true},
		{`user_id == "" and reply_to == "" and correlation_id == "" and content_encoding == ""`, true},
		{`headers.tenant == "acme"`, true},
		{`headers["tenant"] in ["acme", "umbrella"]`, true},
		{`headers.tenant not in ["acme"]`, false},
		{`headers.attempt > 3 and headers.attempt < 5 and headers.attempt == 4.0`, true},
		{`headers.attempt + 1 == 5 and headers.attempt % 2 == 0 and headers.attempt / 8 == 0.5`, true},
		{`headers["x-ratio"] == 0.5 and headers.price == 19.99 and headers.raw == "bytes"`, true},
		{`headers.urgent`, true},
		{`not headers.urgent`, false},
		{`headers.trace.id == "t-1" and headers.trace.parents[0] == "t-0" and headers.trace.parents[-1] == "t-0"`, true},
		{`"tenant" in headers and "none" in headers and "missing" not in headers`, true},
		{`timestamp >= date("2026-11-20") and timestamp < date("2026-11-20T10:00:01Z")`, true},
		{`now() - timestamp > duration("-10000h") and timestamp + duration("1h") > timestamp`, true},
		{`expiration == duration("90m") and expiration - duration("30m") == duration("1h")`, true},

		// What is missing, or of another kind, is not an error.
		{`headers.missing == nil and headers.none == nil and json.note == nil and json.nowhere.at.all == nil`, true},
		{`headers.missing > 3 or headers.missing < 3 or headers.missing == 3`, false},
		{`not (headers.missing > 3)`, true},
		{`headers.missing`, false},
		{`headers.missing contains "x" or headers.attempt contains "4" or headers.missing matches "."`, false},
		{`headers.tenant > 3 or headers.tenant < 3 or headers.tenant == 3`, false},
		{`headers.missing + 1 == nil and -headers.tenant == nil and headers.attempt % 0 == nil`, true},
		{`(headers.missing ?? 7) == 7 and (headers.attempt ?? 7) == 4`, true},
		{`headers.trace == headers.trace`, false},
		{`json.items.sku == nil and json.items[5] == nil and json["items"]["x"] == nil and json.paid.x == nil`, true},
		{`"x" in headers.missing or "x" in headers.tenant`, false},

		{`json.id == 9007199254740993`, true},
		{`json.id == 9007199254740992`, false},
		{`json.customer.name == "Åsa" and len(json.customer.name) == 3 and upper(json.customer.country) == "SE"`, true},
		{`json.total > 100 and json.total <= 129.5`, true},
		{`json.paid == false and not json.paid`, true},
		{`any(json.items, #.sku startsWith "B-") and any(json.items, .count == 2)`, true},
		{`all(json.items, #.count > 0) and none(json.items, #.count > 2) and one(json.items, #.count == 2)`, true},
		{`count(json.items, #.count > 0) == 2 and not any(json.items, #.sku == "B-8")`, true},
		{`any(json.tags, # == "gift") and "new" in json.tags and len(json.tags) == 2`, true},
		{`any(json.items, any(json.tags, # == "gift") and #.sku == "A-1")`, true},
		{`any(headers.missing, true) or any(json.total, true)`, false},
		{`any(headers.trace.parents, # == "t-0")`, true},
		{`json.total > 100 ? json.paid : true`, false},
		{`body contains "Åsa" and size > 100 and body matches "(?i)åsa.*se"`, true},
		{`trim("  x ") == "x" and lower("ÅSA") == "åsa"`, true},
		{`int("12") == 12 and float(json.total) == 129.5 and int(json.total) == 129`, true},
		{`date(json.total) == nil and duration(json.customer.name) == nil`, true},
	}
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, d := range received(t, b, published()) {
			for _, test := range tests {
				got, err := mustParse(t, test.expression).Match(&d)
				if err != nil || got != test.want {
					t.Errorf("%s: %v, %v, want %v", test.expression, got, err, test.want)
				}
			}
		}
	})
}

// TestManual evaluates the expressions of docs/filter.md: each is true of its message,
// published to the exchange that it says.
func TestManual(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../../docs/filter.md")
	if err != nil {
		t.Fatal(err)
	}
	_, blocks, _ := strings.Cut(string(page), "```filter\n")
	expressions, _, ok := strings.Cut(blocks, "```")
	if !ok || strings.Count(expressions, "\n") < 10 {
		t.Fatal("docs/filter.md has no block of expressions")
	}
	b := brokertest.All(t)[0]
	for _, d := range received(t, b, published()) {
		d.Exchange, d.RoutingKey, d.Offset = "orders", "eu.se", 1200
		for line := range strings.Lines(expressions) {
			expression, _, _ := strings.Cut(line, "   #")
			if got, err := mustParse(t, expression).Match(&d); err != nil || !got {
				t.Errorf("docs/filter.md: %s: %v, %v", expression, got, err)
			}
		}
	}
	for field := range strings.SplitSeq(knownNames(), ", ") {
		if !strings.Contains(string(page), "`"+field+"`") {
			t.Errorf("docs/filter.md does not have %s", field)
		}
	}
}

// received is what a consumer gets of a message: from a queue, and from a stream's queue.
func received(t *testing.T, b brokertest.Broker, message thump.Message) []thump.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(context.WithoutCancel(ctx)) }()
	name := brokertest.QueueName(t)
	if _, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: name, Kind: thump.Classic}); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = client.DeleteQueue(context.WithoutCancel(ctx), name, thump.DeleteOptions{}) }()
	publisher, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(name)})
	if err != nil {
		t.Fatal(err)
	}
	if err := publisher.Send(ctx, message); err != nil {
		t.Fatal(err)
	}
	consumer, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue(name)})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.Ack(); err != nil {
		t.Fatal(err)
	}
	if err := consumer.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return batch.Deliveries
}

func TestDelivery(t *testing.T) {
	d := thump.Delivery{Body: []byte("plain\xff"), Exchange: "orders", RoutingKey: "eu.se", Redelivered: true, Offset: 1200}
	for expression, want := range map[string]bool{
		`exchange == "orders" and routing_key startsWith "eu." and redelivered and offset >= 1000`: true,
		`routing_key endsWith ".se" and not (routing_key == "eu.de")`:                              true,
		`routing_key > "eu.a" && routing_key <= "eu.se" && routing_key != "eu"`:                    true,
		`delivery_count == 0 and delivery_mode == 0 and timestamp == nil and expiration == nil`:    true,
		`json == nil and json.a == nil and json[0] == nil`:                                         true,
		`headers["x-death"][0].reason == "rejected"`:                                               false,
		`body contains "plain" and size == 6 and len(body) == 6`:                                   true,
		`timestamp < now() or timestamp > now()`:                                                   false,
	} {
		if got, err := mustParse(t, expression).Match(&d); err != nil || got != want {
			t.Errorf("%s: %v, %v", expression, got, err)
		}
	}
}

func TestJSON(t *testing.T) {
	for body, want := range map[string]bool{
		`{"a": 1}`: true, ` {"a": 1.0} `: true, `{"a": 1e0}`: true, `{"a": 1} x`: false, `{"a": 1}{"a": 1}`: false,
		`{"a": 1`: false, ``: false, `[1]`: false, `{"a": "1"}`: false, `{"a": 1e999}`: false, "\x00": false,
	} {
		if got, err := mustParse(t, `json.a == 1`).Match(&thump.Delivery{Body: []byte(body)}); err != nil || got != want {
			t.Errorf("%q: %v, %v", body, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		text   string
		column int
		reason string
	}{
		{"", 1, "empty"},
		{"  \n", 1, "empty"},
		{`rounting_key == "x"`, 1, `unknown name rounting_key (known are body, size,`},
		{`routing_key == "x" and headers.a >`, 35, "something is missing"},
		{`routing_key == "x`, 18, "literal not terminated"},
		{`routing_key > 5`, 13, "mismatched types string and int"},
		{`size and redelivered`, 6, "mismatched types"},
		{`size + 1`, 1, "a filter must be true or false, and this is a number"},
		{`routing_key`, 1, "this is a text"},
		{`timestamp`, 1, "this is a time"},
		{`expiration`, 1, "this is a duration"},
		{`["a"]`, 1, "this is a list"},
		{`headers`, 1, "this is a table"},
		{`body matches "("`, 6, "missing closing )"},
		{`body matches headers.pattern`, 22, "must be a text in quotes"},
		{`size in 1..1000000000`, 10, "no operator .."},
		{`2 ** 70 > size`, 3, "no operator **"},
		{`filter(json.a, true)`, 1, "no filter"},
		{`any(map(json.a, #), # == 1)`, 5, "no map"},
		{`repeat(body, 1000000) == ""`, 1, "no function repeat"},
		{`let a = 1; a == 1`, 5, "no variables"},
		{`redelivered; true`, 1, "no sequences"},
		{`{"a": 1} == nil`, 1, "no tables of its own"},
		{`body[1:2] == "x"`, 5, "no slices"},
		{`timestamp.Year() == 2026`, 11, "no methods"},
		{`$env == nil`, 1, "no $env"},
		{`# == 1`, 1, "unexpected token"},
		{`timestamp > date("yesterday")`, 18, `date needs a time like`},
		{`expiration > duration("1 day")`, 23, `duration needs a time like`},
		{`date("23:00", "15:04") == nil`, 1, "no date with 2 arguments"},
		{strings.Repeat("(", textMax+1), 1, "has at most 16384 bytes"},
		{strings.Repeat("(", textMax), 0, ""},
		{strings.Repeat("!", textMax-5) + "true", 0, "maximum allowed nodes"},
		{strings.Repeat("any(json,", 1000), 0, ""},
		{"\"Åsa\" == body and nope", 19, "unknown name nope"},
		{"\xff", 1, ""},
	}
	for _, test := range tests {
		f, err := Parse(test.text)
		at, ok := errors.AsType[*Error](err)
		if f != nil || !ok {
			t.Errorf("%.60q: %v, %v", test.text, f, err)
			continue
		}
		if test.column != 0 && at.Column != test.column || !strings.Contains(at.Reason, test.reason) {
			t.Errorf("%.60q: column %d: %s", test.text, at.Column, at.Reason)
		}
		if text := err.Error(); len(text) > 600 || strings.Contains(text, "\n") {
			t.Errorf("%.60q: the error is %q", test.text, text)
		}
	}
}

func TestErrorShowsThePlace(t *testing.T) {
	_, err := Parse("redelivered and\n headers.a >> 3")
	if want := `unexpected token ">", at column 29: "> 3"`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	_, err = Parse("redelivered and")
	if want := `something is missing, at the end of "redelivered and"`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestNeedsBody(t *testing.T) {
	for expression, want := range map[string]bool{
		`headers.a == 1 and size > 3`: false, `routing_key == "body"`: false, `headers.json == 1`: false,
		`redelivered or json.a == 1`: true, `any(json, true)`: true, `body contains "x"`: true,
	} {
		if got := mustParse(t, expression).NeedsBody(); got != want {
			t.Errorf("%s: %v", expression, got)
		}
	}
}

// TestBounds gives expressions messages that are made to keep them busy: each ends.
func TestBounds(t *testing.T) {
	t.Parallel()
	long := []byte("[" + strings.Repeat("1,", 200_000) + "1]")
	texts := []byte(`["` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat(`,"y"`, 100_000) + "]")
	for expression, body := range map[string][]byte{
		`any(json, any(json, any(json, # > 1)))`:     long,
		`any(json, # + 1 in json)`:                   long,
		`all(json, not (body contains "absent"))`:    long,
		`count(json, lower(body) == "absent") == 1`:  texts,
		`count(json, body matches "absent.*z") == 1`: texts,
	} {
		matches, err := mustParse(t, expression).Match(&thump.Delivery{Body: body})
		if matches || !errors.Is(err, errSteps) {
			t.Errorf("%s: %v, %v", expression, matches, err)
		}
	}
	matches, err := mustParse(t, `json.a == 1`).Match(&thump.Delivery{Body: make([]byte, jsonMax+1)})
	if matches || err == nil || !strings.Contains(err.Error(), "is not read as JSON") {
		t.Errorf("a large body: %v, %v", matches, err)
	}
	if matches, err := mustParse(t, `size > 1 or json.a == 1`).Match(&thump.Delivery{Body: make([]byte, jsonMax+1)}); !matches || err != nil {
		t.Errorf("a large body that nobody reads: %v, %v", matches, err)
	}
	deep := []byte(strings.Repeat("[", 1<<20))
	if matches, err := mustParse(t, `json[0][0] == 1`).Match(&thump.Delivery{Body: deep}); matches || err != nil {
		t.Errorf("a deep body: %v, %v", matches, err)
	}
}

func TestFlag(t *testing.T) {
	var f Flag
	if f.String() != "" || f.Filter != nil {
		t.Errorf("a flag begins as %q", f.String())
	}
	if err := f.Set("redelivered"); err != nil || f.String() != "redelivered" {
		t.Errorf("%v, %q", err, f.String())
	}
	if err := f.Set("redelivered ="); err == nil {
		t.Error("no error")
	}
}

// FuzzFilter looks for an expression and a message that make anything panic. What can be
// parsed gives the same answer twice.
func FuzzFilter(f *testing.F) {
	for _, expression := range []string{
		`routing_key startsWith "eu." and headers.attempt > 3`, `any(json.items, #.sku == "B-7" and # != 0)`,
		`json.a.b[0] ?? 7 in [1, 2.5, "x", nil]`, `body matches "a+b" ? size % 3 == 1 : not (json.t - now() < duration("1h"))`,
		`count(json, len(#) > 1) == int("2") || date(json.at) >= timestamp`, `"a" in json | len() > 1`, `json?.a?.[0] == -json.b`,
	} {
		f.Add(expression, []byte(orderBody), "eu.se")
		f.Add(expression, []byte(`[[1],{"a":[null]},"x",1e5]`), "")
	}
	f.Fuzz(func(t *testing.T, expression string, body []byte, routingKey string) {
		filter, err := Parse(expression)
		if err != nil {
			if at, ok := errors.AsType[*Error](err); !ok || at.Column < 1 || err.Error() == "" {
				t.Fatalf("%q: %#v", expression, err)
			}
			return
		}
		d := thump.Delivery{Body: body, RoutingKey: routingKey, Offset: 7}
		first, err := filter.Match(&d)
		second, again := filter.Match(&d)
		if fmt.Sprint(err) != fmt.Sprint(again) || first != second && !strings.Contains(expression, "now") {
			t.Fatalf("%q: %v, %v, and then %v, %v", expression, first, err, second, again)
		}
	})
}

// TestTables gives tables of AMQP to what reads them: headers of any type.
func TestTables(t *testing.T) {
	values := []any{
		nil, true, int8(-1), int16(2), int32(3), int64(4), uint8(5), uint16(6), uint32(7), float32(0.5), 2.5,
		thump.Decimal{Scale: 255, Value: 1},
		"text",
		[]byte("bytes"),
		time.Unix(1, 0),
		thump.NewTable("a", 1),
		[]any{"x", int8(1)},
	}
	operators := []string{"==", "!=", "<", "<=", ">", ">=", "in", "contains", "startsWith", "endsWith", "+", "-", "*", "/", "%", "and", "or", "??"}
	for _, operator := range operators {
		f := mustParse(t, fmt.Sprintf(`(json.a %s json.b) in [true, 1, "x"]`, operator))
		for _, a := range values {
			for _, b := range values {
				m := message{delivery: &thump.Delivery{}, left: stepsMax, hasJSON: true, json: thump.NewTable("a", a, "b", b)}
				if v := f.root(&m); v != true && v != false || m.err != nil {
					t.Errorf("%T %s %T: %v, %v", a, operator, b, v, m.err)
				}
			}
		}
	}
	for name := range functions {
		f := mustParse(t, name+"(json.a) == nil")
		for _, a := range values {
			m := message{delivery: &thump.Delivery{}, left: stepsMax, hasJSON: true, json: thump.NewTable("a", a)}
			if v := f.root(&m); v != true && v != false || m.err != nil {
				t.Errorf("%s(%T): %v, %v", name, a, v, m.err)
			}
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, expression := range []string{
		`routing_key startsWith "eu." and size > 3`, `body contains "gift"`, `json.customer.country == "SE"`,
	} {
		b.Run(expression, func(b *testing.B) {
			f := mustParse(b, expression)
			d := thump.Delivery{Body: []byte(orderBody), RoutingKey: "eu.se"}
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := f.Match(&d); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
