package report

import (
	"strings"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestLimited changes one measurement after the other of a run that nothing limits.
func TestLimited(t *testing.T) {
	cpu := func(client, broker float64) func(*result.Run) {
		return func(r *result.Run) {
			for i := range r.Samples {
				r.Samples[i].Client.CPU, r.Samples[i].Broker.CPU = &client, &broker
			}
		}
	}
	rate := func(late float64) func(*result.Run) {
		return func(r *result.Run) {
			for i := range r.Samples {
				r.Samples[i].WantedRate, r.Samples[i].LateSeconds = new(1000.0), &late
			}
		}
	}
	both := func(changes ...func(*result.Run)) func(*result.Run) {
		return func(r *result.Run) {
			for _, change := range changes {
				change(r)
			}
		}
	}
	stop := func(seconds float64) func(*result.Run) {
		return func(r *result.Run) {
			for i := 3; i < len(r.Samples); i++ {
				r.Samples[i].Seconds += seconds
			}
		}
	}
	flow := func(r *result.Run) {
		for i := range 4 {
			r.Samples[i].Broker.Flow = new(uint64(1))
		}
	}
	for name, tt := range map[string]struct {
		change func(*result.Run)
		want   Limit
		says   string
	}{
		"nothing":             {func(*result.Run) {}, NoLimit, ""},
		"no samples":          {func(r *result.Run) { r.Samples = nil }, NoLimit, ""},
		"few samples":         {both(cpu(4, 0), func(r *result.Run) { r.Samples = r.Samples[:3] }), NoLimit, ""},
		"generator":           {cpu(3.7, 0), GeneratorLimit, "thump itself was the limit: it kept 3.7 of 4 processors busy"},
		"generator and late":  {both(cpu(3.9, 0), rate(2)), GeneratorLimit, "thump itself was the limit, up to 2.00 s behind the rate that was asked for"},
		"machine":             {cpu(1.8, 1.9), MachineLimit, "thump (1.8) and RabbitMQ (1.9) together kept 3.7 of 4 processors busy"},
		"broker elsewhere":    {both(cpu(1.8, 1.9), func(r *result.Run) { clearBroker(r) }), NoLimit, ""},
		"processors unknown":  {both(cpu(8, 8), func(r *result.Run) { r.Settings.Processors = 0 }), NoLimit, ""},
		"stopped, and late":   {both(rate(80), stop(90)), StoppedLimit, "thump did not run for 90.00 s of the 98.00 s: it was stopped, or the machine was."},
		"stopped for long":    {both(cpu(4, 0), stop(90)), StoppedLimit, ""},
		"stopped for a while": {both(cpu(4, 0), stop(1)), GeneratorLimit, ""},
		"late before that":    {both(rate(80), stop(2)), NoLimit, "not because thump was busy"},
		"rate":                {rate(0.01), RateLimit, "The rate that was asked for was kept: it was the limit, and thump used 0.5 of 4 processors"},
		"rate, all busy":      {both(rate(0.01), cpu(4, 0)), RateLimit, ""},
		"late":                {rate(1.5), NoLimit, "up to 1.50 s behind the rate that was asked for, and not because thump was busy: it used 0.5 of 4"},
		"late once": {
			both(rate(0.01), func(r *result.Run) { r.LateSeconds = new(0.68) }), NoLimit,
			"up to 0.680 s behind the rate that was asked for",
		},
		"flow":                {flow, FlowLimit, "slowed publishers down (flow control) for 50 % of the time"},
		"flow and late":       {both(flow, rate(1)), FlowLimit, ""},
		"flow, but saturated": {both(flow, cpu(4, 0)), GeneratorLimit, ""},
		"blocked": {func(r *result.Run) {
			for i := range 2 {
				r.Samples[i].Broker.Blocked = new(uint64(2))
			}
		}, BlockedLimit, "blocked publishers for 25 % of the time"},
		"blocked for a moment": {func(r *result.Run) { r.Samples[0].Broker.Blocked = new(uint64(2)) }, NoLimit, ""},
		"consumers":            {slow, ConsumersLimit, "consumers took 500 a second of 1,000: they were the slower side. More consumers"},
		"consumers by rate": {
			both(slow, func(r *result.Run) { r.Settings.ConsumeRate = 500 }), ConsumersLimit,
			"consumers took 500 a second of 1,000: they were to take no more than 500.",
		},
		"consumers that poll": {
			both(slow, func(r *result.Run) { r.Settings.Poll = true }), ConsumersLimit,
			"consumers took 500 a second of 1,000: each asked for one message after another (--poll)",
		},
		"consumers that work": {
			both(slow, func(r *result.Run) { r.Settings.Work = "4ms" }), ConsumersLimit,
			"consumers took 500 a second of 1,000: each message takes one of them 4ms (--work). More consumers",
		},
		"rate, slow consumers": {
			both(rate(0.01), slow), ConsumersLimit,
			"The sending kept the rate that was asked for, and the consumers did not keep up. While messages were sent, consumers took 500 a second of 1,000: they were",
		},
		"rate, consumers that work": {
			both(rate(0.01), slow, func(r *result.Run) { r.Settings.Work = "4ms" }), ConsumersLimit,
			"did not keep up. While messages were sent, consumers took 500 a second of 1,000: each message takes one of them 4ms (--work).",
		},
		"rate, consumers somewhat slower": {both(rate(0.01), take(0.8)), ConsumersLimit, "consumers took 800 a second of 1,000"},
		"rate, consumers that took none":  {both(rate(0.01), take(0)), ConsumersLimit, "consumers took 0 a second of 1,000"},
		"rate, consumers just behind":     {both(rate(0.01), take(0.95)), RateLimit, "was kept: it was the limit"},
		"rate, one message under way": {both(rate(0.01), func(r *result.Run) {
			for i := range r.Samples {
				r.Samples[i].Sent, r.Samples[i].Received = uint64(i+1), uint64(i)
			}
		}), RateLimit, "was kept: it was the limit"},
		"rate, nobody receives":      {both(rate(0.01), take(0), func(r *result.Run) { r.Settings.Consumers = 0 }), RateLimit, ""},
		"rate, slow consumers, flow": {both(rate(0.01), slow, flow), ConsumersLimit, ""},
		"rate, slow consumers, all busy": {
			both(rate(0.01), slow, cpu(3.7, 0)), GeneratorLimit,
			"thump itself was the limit, while the sending kept the rate that was asked for and consumers took 500 a second of 1,000: it kept 3.7 of 4 processors busy",
		},
		"rate, sequential": {both(rate(0.01), slow, func(r *result.Run) { r.Settings.Sequential = true }), RateLimit, ""},
		"sequential":       {both(slow, func(r *result.Run) { r.Settings.Sequential = true }), NoLimit, ""},
		"each reads all": {func(r *result.Run) {
			r.Settings.Kind, r.Settings.Consumers = result.Stream, 2
			for i := range r.Samples {
				r.Samples[i].Received *= 2
			}
		}, NoLimit, ""},
		// What comes after the sending does not count: nobody was sending then.
		"after the sending": {func(r *result.Run) {
			r.Events = []result.Event{{Seconds: 4, Kind: result.SendingEnded}}
			for i := range 4 {
				r.Samples[4+i].Client.CPU = new(4.0)
				r.Samples[4+i].Broker.Flow = new(uint64(1))
			}
		}, NoLimit, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &result.Run{Settings: result.Settings{Kind: result.Classic, Processors: 4, Publishers: 1, Consumers: 1}}
			for i := range 8 {
				n := uint64(i+1) * 1000
				r.Samples = append(r.Samples, result.Sample{
					Seconds: float64(i + 1), Sent: n, Confirmed: n, Received: n, Client: result.ClientSample{CPU: new(0.5)},
					Broker: &result.BrokerSample{CPU: new(0.5), Flow: new(uint64(0)), Blocked: new(uint64(0))},
				})
			}
			tt.change(r)
			got, text := Limited(r)
			if text = strings.ReplaceAll(text, unit, " "); got != tt.want || !strings.Contains(text, tt.says) || tt.says == "" && tt.want == NoLimit && text != "" {
				t.Errorf("got %q, %q", got, text)
			}
		})
	}
}

func clearBroker(r *result.Run) {
	for i := range r.Samples {
		r.Samples[i].Broker = nil
	}
}

// slow is consumers that take half of what is sent.
func slow(r *result.Run) { take(0.5)(r) }

// take is consumers that take this part of what is sent.
func take(part float64) func(*result.Run) {
	return func(r *result.Run) {
		for i := range r.Samples {
			r.Samples[i].Received = uint64(part * float64(r.Samples[i].Sent))
		}
	}
}
