package thump

import (
	"strings"
	"testing"
)

// TestURLForAName: no error repeats a URL, in which a password may be, that was given for a
// name, whatever else is wrong with it; and nothing of that name is made or used.
func TestURLForAName(t *testing.T) {
	for _, rest := range []string{"", "\n", "\x00", "\xff", "/" + strings.Repeat("x", 300)} {
		name := "amqp://u:sesame@host" + rest
		for what, err := range map[string]error{
			"queue":            Queue(name).check(),
			"exchange":         Exchange(name, "").check(),
			"stream":           Stream(name).check(),
			"super stream":     SuperStream(name).check(),
			"new exchange":     checkNewName("exchange", name),
			"new stream":       checkStreamName("/", name),
			"new queue":        errorOf(new(Client).DeclareQueue(t.Context(), QueueSpec{Name: name})),
			"new super stream": errorOf2(SuperStreamSpec{StreamSpec: StreamSpec{Name: name}, Partitions: 1}.partitions("/")),
		} {
			if err == nil || strings.Contains(err.Error(), "sesame") || strings.Count(err.Error(), "is a URL that begins with amqp://") != 1 {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
		for what, err := range map[string]error{ // what may have such a name, if it is one at all
			"queue":       checkName("queue", name),
			"source":      (&Binding{Source: name, Queue: "q"}).check(),
			"bound queue": (&Binding{Source: "x", Queue: name}).check(),
			"binding key": (&Binding{Source: "x", Queue: "q", RoutingKey: name}).check(),
			"routing key": Exchange("x", name).check(),
			"dead letter": (&QueueSpec{Name: "q", DeadLetterExchange: name, DeadLetterRoutingKey: name}).check("/", nil),
			"tag":         checkText("Tag", name),
		} {
			if err != nil && strings.Contains(err.Error(), "sesame") {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

func errorOf2[T, U any](_ T, _ U, err error) error { return err }
