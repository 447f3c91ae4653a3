package conformance

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// Streams and super streams: declare, inspect, delete; and what the broker
// refuses.
func streamTopologyCases() []conformanceCase {
	return []conformanceCase{
		{"stream/declare", offsets, testStreamTopology},
		{"stream/settings", offsets, testStreamSettings},
		{"stream/inequivalent", offsets, testStreamInequivalent},
		{"stream/inspect", offsets, testInspectStream},
		{"stream/not-found", offsets, testStreamNotFound},
		{"stream/seen-as-a-queue", offsets, testStreamAsQueue},
		{"super-stream/declare", partitions, testSuperTopology},
		{"super-stream/refused", partitions, testSuperRefused},
		{"super-stream/not-found", partitions, testSuperNotFound},
	}
}

func testStreamTopology(r *rig) {
	for _, name := range []string{unique("größe \"quoted\"/#?%"), unique(strings.Repeat("n", 200))} {
		spec := thump.StreamSpec{Name: name, MaxBytes: 1 << 30}
		r.stream(spec)
		r.chunks(name, 1, 5)
		for range 2 { // the same again is no error, and changes nothing
			r.noError(r.client.DeclareStream(r.Context(), spec))
		}
		r.take(name, 5)
		for range 2 { // nor is deleting what is not there
			r.noError(r.client.DeleteStream(r.Context(), name))
		}
		_, err := r.client.InspectStream(r.Context(), name)
		r.notFound(err, name)
		r.noError(r.client.DeclareStream(r.Context(), spec)) // a new one
		r.take(name, 0)
	}
}

// testStreamSettings looks with the management API what became of the settings.
func testStreamSettings(r *rig) {
	spec := thump.StreamSpec{
		Name: unique("stream"), MaxBytes: 20_000_000_000, MaxAge: 36*time.Hour + time.Millisecond,
		SegmentBytes: 1_000_000, LeaderLocator: "client-local", InitialClusterSize: 1,
	}
	want := map[string]any{
		"x-queue-type": "stream", "x-max-length-bytes": 20e9, "x-max-age": "129601s",
		"x-stream-max-segment-size-bytes": 1e6, "x-queue-leader-locator": "client-local", "x-initial-cluster-size": 1.0,
	}
	if r.atLeast("3.13") {
		spec.FilterBytes = 128
		want["x-stream-filter-size-bytes"] = 128.0
	}
	r.stream(spec)
	var answer struct {
		Type      string
		Durable   bool
		Arguments map[string]any
	}
	r.noError(json.Unmarshal(r.manage("GET", "queues/%2F/"+url.PathEscape(spec.Name), nil), &answer))
	if answer.Type != "stream" || !answer.Durable {
		r.Errorf("it is a %s, durable %v", answer.Type, answer.Durable)
	}
	for key, value := range want {
		if answer.Arguments[key] != value {
			r.Errorf("%s is %v, expected %v", key, answer.Arguments[key], value)
		}
	}
	if len(answer.Arguments) != len(want) {
		r.Errorf("the arguments are %v, expected %v", answer.Arguments, want)
	}
}

// testStreamInequivalent declares what is there with other settings, and with
// settings that mean nothing; the client goes on after every refusal.
func testStreamInequivalent(r *rig) {
	stream := r.stream(thump.StreamSpec{MaxBytes: 1 << 30})
	for _, other := range []thump.StreamSpec{
		{Name: stream},
		{Name: stream, MaxBytes: 1 << 31},
		{Name: stream, MaxBytes: 1 << 30, MaxAge: time.Hour},
		{Name: r.classicQueue()},
		{Name: unique("stream"), LeaderLocator: "nowhere"},
	} {
		err := r.client.DeclareStream(r.Context(), other)
		r.brokerError(err, 17)
		r.says(err, other.Name, "precondition failed")
	}
	for _, bad := range []thump.StreamSpec{
		{}, {Name: unique("stream"), MaxBytes: -1}, {Name: unique("stream"), SegmentBytes: -1}, {Name: unique("stream"), MaxAge: -time.Second},
	} {
		if err := r.client.DeclareStream(r.Context(), bad); err == nil {
			r.Errorf("%+v was declared", bad)
		}
	}
	r.noError(r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: stream, MaxBytes: 1 << 30}))
}

func testInspectStream(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	u, err := url.Parse(r.broker.StreamURL)
	r.noError(err)
	inspect := func() thump.StreamInfo {
		r.Helper()
		info, err := r.client.InspectStream(r.Context(), stream)
		r.noError(err)
		if info.Name != stream || info.Leader != u.Host || len(info.Replicas) > 1 || info.Known != r.atLeast("3.11") {
			r.Errorf("got %+v, expected the leader %s", info, u.Host)
		}
		return info
	}
	if info := inspect(); info.Known && !info.Empty || info.FirstOffset != 0 || info.LastChunk != 0 {
		r.Errorf("of an empty stream: %+v", info)
	}
	r.chunks(stream, 1, 100, 10, 7)
	if info := inspect(); info.Empty || info.FirstOffset != 0 || info.Known && info.LastChunk != 110 {
		r.Errorf("of a stream with its last chunk at 110: %+v", info)
	}
}

// testStreamNotFound asks for a stream that is not there, in every way.
func testStreamNotFound(r *rig) {
	missing := unique("missing")
	_, inspect := r.client.InspectStream(r.Context(), missing)
	_, publisher := r.client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(missing)})
	_, named := r.client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(missing), Stream: thump.StreamPublishing{Name: "publisher"}})
	_, consumer := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(missing), Stream: thump.StreamConsuming{Name: "reader"}})
	_, queue := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(r.classicQueue())})
	for _, err := range []error{inspect, publisher, named, consumer} {
		r.notFound(err, missing)
		r.streamError(err, 2)
	}
	if !thump.IsNotFound(queue) {
		r.Errorf("a queue for a stream: %v, expected the broker not to find a stream", queue)
	}
}

// testStreamAsQueue looks at a stream over AMQP, and the other way round.
func testStreamAsQueue(r *rig) {
	stream := r.stream(thump.StreamSpec{MaxBytes: 1 << 30})
	r.chunks(stream, 1, 10)
	info, err := r.client.InspectQueue(r.Context(), stream)
	r.noError(err)
	if info.Name != stream {
		r.Errorf("got %+v", info)
	}
	declared := r.declare(thump.QueueSpec{Name: unique("queue"), Kind: "stream", Arguments: thump.Table{{Key: "x-max-age", Value: "3600s"}}})
	r.noError(r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: declared, MaxAge: time.Hour}))
	r.chunks(declared, 1, 10)
	r.take(declared, 10)
	if _, err := r.client.DeleteQueue(r.Context(), declared, thump.DeleteOptions{}); err != nil {
		r.Error(err)
	}
	_, err = r.client.InspectStream(r.Context(), declared)
	r.notFound(err, declared)
}

// declareSuper declares a super stream and deletes it in the end. It reports
// false, after an error that says which is needed, where the broker is too old.
func (r *rig) declareSuper(s thump.SuperStreamSpec) bool {
	r.Helper()
	err := r.client.DeclareSuperStream(r.Context(), s)
	if r.lacks("3.13", err) {
		return false
	}
	r.noError(err)
	r.Cleanup(func() {
		ctx, cancel := parting()
		defer cancel()
		if err := r.client.DeleteSuperStream(ctx, s.Name); err != nil {
			r.Errorf("cleaning up: %v", err)
		}
	})
	return true
}

func testSuperTopology(r *rig) {
	spec := thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: unique("super"), MaxBytes: 1 << 30}, Partitions: 3}
	keys := thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: unique("super")}, BindingKeys: []string{"amer", "emea", "apac"}}
	if !r.declareSuper(spec) || !r.declareSuper(keys) {
		return
	}
	r.noError(r.client.DeclareSuperStream(r.Context(), spec)) // there already
	for name, suffixes := range map[string][]string{spec.Name: {"0", "1", "2"}, keys.Name: keys.BindingKeys} {
		got, err := r.client.Partitions(r.Context(), name)
		r.noError(err)
		var want []string
		for _, suffix := range suffixes {
			want = append(want, name+"-"+suffix)
		}
		if !slices.Equal(got, want) {
			r.Errorf("the partitions are %v, expected %v", got, want)
		}
	}
	// Its partitions have its settings, and one that RabbitMQ adds.
	r.noError(r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: spec.Name + "-1", MaxBytes: 1 << 30, LeaderLocator: "balanced"}))
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(keys.Name), Stream: thump.StreamPublishing{RouteByKey: true}})
	r.publish(p, thump.Message{RoutingKey: "emea", Body: []byte("hello")})
	r.noError(p.Close(r.Context()))
	if got := r.contents(keys.Name, 1)[keys.Name+"-emea"]; len(got) != 1 || got[0] != "hello" {
		r.Errorf("emea holds %v", got)
	}
	for range 2 {
		r.noError(r.client.DeleteSuperStream(r.Context(), spec.Name))
	}
	_, err := r.client.InspectStream(r.Context(), spec.Name+"-1")
	r.notFound(err, spec.Name+"-1")
}

func testSuperRefused(r *rig) {
	named := thump.StreamSpec{Name: unique("super")}
	for _, bad := range []thump.SuperStreamSpec{
		{StreamSpec: named},
		{StreamSpec: named, Partitions: -1},
		{StreamSpec: named, Partitions: 1001},
		{StreamSpec: named, Partitions: 2, BindingKeys: []string{"a", "b"}},
	} {
		r.says(r.client.DeclareSuperStream(r.Context(), bad), named.Name, fmt.Sprint(bad.Partitions))
	}
	spec := thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: unique("super"), LeaderLocator: "nowhere"}, Partitions: 2}
	err := r.client.DeclareSuperStream(r.Context(), spec)
	if r.lacks("3.13", err) {
		return
	}
	r.says(err, spec.Name, "internal error") // of a single stream it is "precondition failed"
	// A partition's name is taken by something else.
	taken := r.stream(thump.StreamSpec{Name: unique("super") + "-1", MaxBytes: 1 << 30})
	spec = thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: strings.TrimSuffix(taken, "-1")}, Partitions: 2}
	if err := r.client.DeclareSuperStream(r.Context(), spec); err == nil {
		names, err := r.client.Partitions(r.Context(), spec.Name)
		r.Errorf("the stream %s was there, and the super stream was declared, with the partitions %v, %v", taken, names, err)
	}
	// What is there of it was not touched.
	r.noError(r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: taken, MaxBytes: 1 << 30}))
}

func testSuperNotFound(r *rig) {
	missing := unique("missing")
	_, partitions := r.client.Partitions(r.Context(), missing)
	_, publisher := r.client.Publisher(r.Context(), thump.PublisherConfig{To: thump.SuperStream(missing)})
	_, consumer := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.SuperStream(missing)})
	for _, err := range []error{partitions, publisher, consumer} {
		r.notFound(err, missing)
	}
	err := r.client.DeleteSuperStream(r.Context(), missing)
	if r.lacks("3.13", err) {
		return
	}
	r.noError(err)
	// A stream is no super stream.
	stream := r.stream(thump.StreamSpec{})
	_, err = r.client.Publisher(r.Context(), thump.PublisherConfig{To: thump.SuperStream(stream)})
	if err == nil {
		r.Errorf("a publisher to stream %s as a super stream", stream)
	}
}
