package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

var update = flag.Bool("update", false, "write the golden files")

// million is a run as the README shows it.
func million() *result.Run {
	return &result.Run{
		Command: "run", Verdict: result.OK,
		Settings: result.Settings{
			ThumpVersion: "0.1.0", URL: "amqp://guest:***@localhost:5672", Queue: "hello", Kind: "classic",
			Durable: new(true), Count: 1000000, Body: "tutorial", BodyBytes: 15, Publishers: 1, Consumers: 1,
			Window: 10000, Prefetch: 2000, Confirms: true, Recovery: true, GiveUpSeconds: 60,
		},
		Broker: result.Broker{Product: "RabbitMQ", Version: "4.3.6", Private: true},
		Sent:   new(uint64(1000000)), Confirmed: new(uint64(1000000)), Rejected: new(uint64(0)),
		Returned: new(uint64(0)), Unknown: new(uint64(0)),
		Received: new(uint64(1000000)), Unique: new(uint64(1000000)), Lost: new(uint64(0)),
		Duplicated: new(uint64(0)), Reordered: new(uint64(0)), Corrupted: new(uint64(0)), Unexpected: new(uint64(0)),
		SendSeconds: new(9.5), ReceiveSeconds: new(9.9), TotalSeconds: new(10.0),
		SendRatePerSecond: new(105263.2), ReceiveRatePerSecond: new(101010.1),
		ClientCPUSeconds: new(1.25), BrokerCPUSeconds: new(17.5), ClientRSSPeakBytes: new(uint64(21000000)),
		BacklogAtSendEnd: new(uint64(52000)), LeftInQueue: new(uint64(0)),
	}
}

func TestText(t *testing.T) {
	tests := map[string]func(*result.Run){
		"million": func(*result.Run) {},
		"polled": func(r *result.Run) {
			r.Settings.Poll, r.Settings.PollIntervalSeconds, r.Settings.Prefetch = true, 0.1, 0
			r.Gets, r.EmptyGets = new(uint64(1000210)), new(uint64(210))
		},
		"quorum-remote": func(r *result.Run) {
			r.Settings.Kind = "quorum"
			r.Settings.Body, r.Settings.BodyBytes = "1,024 bytes", 1024
			r.Settings.Publishers, r.Settings.Consumers = 4, 2
			r.Broker = result.Broker{Product: "RabbitMQ", Version: "3.13.7"}
			r.BrokerCPUSeconds = nil
			r.BacklogAtSendEnd = new(uint64(120))
		},
		"fast-and-loose": func(r *result.Run) {
			r.Settings.Confirms, r.Settings.AutoAck, r.Settings.Sequential = false, true, true
			r.Settings.Durable = new(false)
			r.Confirmed = new(uint64(0))
			r.BacklogAtSendEnd = new(uint64(1000000))
		},
		"violated": func(r *result.Run) {
			r.Unique, r.Received = new(uint64(999988)), new(uint64(999991))
			r.Lost, r.Duplicated, r.Corrupted, r.Reordered = new(uint64(12)), new(uint64(1)), new(uint64(2)), new(uint64(7))
			r.LostMessages = []string{"17", "200-210"}
			r.Judge(nil, false)
		},
		"failed": func(r *result.Run) {
			r.Confirmed, r.Rejected, r.Unknown = new(uint64(900000)), new(uint64(2)), new(uint64(99998))
			r.Received, r.Unique, r.Lost = new(uint64(850000)), new(uint64(850000)), nil
			r.Judge(errorText("consuming from \"hello\": connection lost"), false)
		},
		"interrupted": func(r *result.Run) {
			r.Sent, r.Confirmed = new(uint64(300000)), new(uint64(300000))
			r.Received, r.Unique = new(uint64(250000)), new(uint64(250000))
			r.LeftInQueue = new(uint64(50000))
			r.Settings.Kind, r.Settings.Durable = "", nil
			r.Judge(nil, true)
		},
		"one": func(r *result.Run) {
			for _, p := range []**uint64{&r.Sent, &r.Confirmed, &r.Received, &r.Unique} {
				*p = new(uint64(1))
			}
			r.Settings.Count = 1
			r.SendRatePerSecond, r.ReceiveRatePerSecond = nil, nil
			r.BacklogAtSendEnd = new(uint64(0))
			r.Broker.Version = "3.10.8"
		},
		"outage": func(r *result.Run) {
			r.Received, r.Duplicated, r.DuplicatedResent = new(uint64(1000211)), new(uint64(211)), new(uint64(211))
			r.Resent, r.Outages, r.FirstOutageAt, r.LongestOutageSeconds = new(uint64(4096)), new(uint64(1)), new(uint64(412331)), new(1.2)
			r.Judge(nil, false)
		},
		"outages": func(r *result.Run) {
			r.Received, r.Duplicated, r.DuplicatedResent, r.DuplicatedRedelivered = new(uint64(1000211)), new(uint64(211)), new(uint64(11)), new(uint64(200))
			r.Resent, r.Outages, r.FirstOutageAt, r.LongestOutageSeconds = new(uint64(4096)), new(uint64(3)), new(uint64(412331)), new(3.25)
			r.Settings.GiveUpSeconds = 0
			r.Judge(nil, false)
		},
		"outage-unexplained": func(r *result.Run) {
			r.Received, r.Duplicated, r.DuplicatedResent = new(uint64(1000211)), new(uint64(211)), new(uint64(210))
			r.Resent, r.Outages, r.FirstOutageAt, r.LongestOutageSeconds = new(uint64(210)), new(uint64(1)), new(uint64(412331)), new(1.2)
			r.Judge(nil, false)
		},
		"gave-up": func(r *result.Run) {
			r.Confirmed, r.Unknown = new(uint64(412331)), new(uint64(10000))
			r.Sent, r.Received, r.Unique, r.Lost = new(uint64(422331)), new(uint64(412000)), new(uint64(412000)), nil
			r.Outages, r.FirstOutageAt, r.LongestOutageSeconds, r.AwayAtEnd = new(uint64(1)), new(uint64(412331)), new(60.0), true
			r.Judge(errorText("publisher to queue \"hello\": given up after 1m0s"), false)
		},
		"no-recovery": func(r *result.Run) { r.Settings.Recovery = false },
		"stream":      stream,
		"stream-fan-out": func(r *result.Run) {
			stream(r)
			r.Settings.Consumers, r.Settings.SubEntry = 3, 1
			r.Received, r.Unique = new(uint64(3000000)), new(uint64(3000000))
			r.Settings.PublisherName, r.Settings.ConsumerName = "loader", "reader"
			r.Settings.StreamMaxBytes, r.Settings.DiskFreeBytes = 10_000_000_000, nil
			r.BacklogAtSendEnd = new(uint64(120))
		},
		"super-stream": func(r *result.Run) {
			stream(r)
			r.Settings.Kind, r.Settings.Partitions = "super-stream", 3
			r.Settings.Compression, r.CompressionRatio = "zstd", new(9.1)
			r.Settings.Sequential = true
			r.BytesOnWire = new(uint64(1_530_000))
			r.BacklogAtSendEnd = new(uint64(1000000))
		},
		"stream-interrupted": func(r *result.Run) {
			stream(r)
			r.Sent, r.Confirmed = new(uint64(300000)), new(uint64(300000))
			r.Received, r.Unique, r.Lost = new(uint64(250000)), new(uint64(250000)), nil
			r.Judge(nil, true)
		},
		"nothing": func(r *result.Run) {
			*r = result.Run{Command: "run", Settings: r.Settings}
			r.Judge(errorText("opening publisher 1 of 1: connection refused"), false)
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			r := million()
			change(r)
			golden(t, name+".txt", Settings(r)+"\n"+Text(r))
		})
	}
}

// stream makes of a run one through a stream.
func stream(r *result.Run) {
	s := &r.Settings
	s.Kind, s.Durable, s.Prefetch, s.Window = "stream", nil, 0, 100000
	s.SubEntry, s.Compression = 500, "none"
	s.DiskBytes, s.DiskFreeBytes = new(uint64(22_900_000)), new(uint64(82_500_000_000))
	r.SendSeconds, r.ReceiveSeconds, r.TotalSeconds = new(0.08), new(0.085), new(0.09)
	r.SendRatePerSecond, r.ReceiveRatePerSecond = new(12_500_000.0), new(11_764_705.9)
	r.ClientCPUSeconds, r.BrokerCPUSeconds = new(0.07), new(0.06)
	r.BytesOnWire, r.CompressionRatio = new(uint64(22_900_000)), new(0.6)
	r.LeftInQueue = nil
}

// TestExpiredAreNamed: of what was confirmed, what expired is neither lost nor left out.
func TestExpiredAreNamed(t *testing.T) {
	for _, received := range []uint64{813, 0} {
		r := million()
		r.Received, r.Unique, r.Expired = &received, &received, new(1000000-received)
		text := strings.ReplaceAll(Text(r), unit, " ")
		text = strings.Join(strings.Fields(text), " ")
		for _, want := range []string{
			whole(float64(received)) + " came back and " + whole(float64(1000000-received)) + " expired, each body checked: 0 lost",
			"When the last message was sent, 52,000 messages were waiting in the queue (5.2 %), and the consumer was done",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%d received: no %q in\n%s", received, want, text)
			}
		}
	}
}

// TestCopiesHaveAnAverage: the backlog of several copies is not a count of messages in queues.
func TestCopiesHaveAnAverage(t *testing.T) {
	r := million()
	r.Settings.Queues, r.Settings.Copies = 3, 2
	if text := placeOf(r).backlog; !strings.HasSuffix(text, " waiting in the queues (5.2"+unit+"% on average)") {
		t.Error(text)
	}
}

func TestTable(t *testing.T) {
	classic, quorum, through := million(), million(), million()
	quorum.Settings.Kind = "quorum"
	quorum.SendSeconds, quorum.TotalSeconds = new(19.25), new(20.5)
	stream(through)
	for _, r := range []*result.Run{classic, quorum, through} {
		r.Settings.Queue = "hello-" + string(r.Settings.Kind)
	}
	golden(t, "table.txt", Table(result.New(classic, quorum, through)))

	broken := &result.Run{Command: "run", Broker: classic.Broker, Settings: through.Settings}
	broken.Judge(errorText("the broker has no stream plugin"), false)
	golden(t, "table-failed.txt", Table(result.New(classic, quorum, broken)))
}

type errorText string

func (e errorText) Error() string { return string(e) }

func TestSettings(t *testing.T) {
	r := million()
	r.Command = "send"
	r.Settings.Confirms = false
	golden(t, "settings-send.txt", Settings(r))
	r.Command = "receive"
	r.Settings.AutoAck = true
	r.Settings.Kind = ""
	golden(t, "settings-receive.txt", Settings(r))
	stream(r)
	r.Settings.Offset, r.Settings.Until, r.Settings.Consumers = "-1000", "now", 2
	r.Settings.DiskBytes, r.Settings.DiskFreeBytes = nil, nil
	golden(t, "settings-receive-stream.txt", Settings(r))
}

// golden compares got with the file, or writes it when -update is given.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it); got\n%s", path, got)
	}
	for line := range strings.Lines(got) {
		most := 100
		if strings.Contains(line, " sent, ") { // the verdict is one line, whatever it has to say
			most = 150
		}
		if len([]rune(line)) > most {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
}

func TestWhole(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 999999.5: "1,000,000", 1234567: "1,234,567"} {
		if got := whole(x); got != want {
			t.Errorf("%v is written %s, want %s", x, got, want)
		}
	}
}
