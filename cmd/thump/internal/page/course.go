package page

import (
	"math"
	"slices"

	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// pointsMost is how many samples a page shows of a run: about as many as a screen can.
const pointsMost = 600

// table is a table of numbers. Charts point to its columns, and the script reads what it shows
// from its cells.
type table struct {
	ID   string
	Head []string
	Rows []row
}

// row is a line of a table. X is where it is on the charts.
type row struct {
	X     string
	Name  string
	Cells []string
}

// course is the samples of a run, column by column. A number that is not known is NaN.
type course struct {
	id      string
	end     float64
	every   int // how many samples stand in one
	samples []result.Sample
	ended   int // the sample that sendingEnded has added; 0 for none
	columns map[string]column
	values  [][]float64 // of the columns, in the order of the table
	table   table
}

type column struct {
	at     int // in the table, from 1
	values []float64
}

func newCourse(id string, r *result.Run) *course {
	c := &course{id: id, every: (len(r.Samples) + pointsMost - 1) / pointsMost, columns: map[string]column{}}
	for i := 0; i < len(r.Samples); i += c.every {
		c.samples = append(c.samples, together(r.Samples[i:min(i+c.every, len(r.Samples))]))
	}
	c.sendingEnded(r)
	c.table.ID, c.table.Head = id+"-samples", []string{"time"}
	for i := range c.samples {
		c.end = min(most, max(c.end, c.samples[i].Seconds))
	}
	for _, e := range r.Events {
		if e.Seconds < c.end*1.1 {
			c.end = max(c.end, e.Seconds)
		}
	}
	for i := range c.samples {
		t := c.samples[i].Seconds
		c.table.Rows = append(c.table.Rows, row{X: trim6(t), Name: exact(t)})
	}
	c.counts(readersOf(r))
	c.latencies()
	c.resources()
	return c
}

// sendingEnded adds the moment at which the sending ended, which is between two samples: most
// is waiting then, and the record knows how much that was.
func (c *course) sendingEnded(r *result.Run) {
	at := slices.IndexFunc(r.Events, func(e result.Event) bool { return e.Kind == result.SendingEnded })
	if at < 0 || r.Sent == nil || r.BacklogAtSendEnd == nil {
		return
	}
	moment := r.Events[at].Seconds
	next := slices.IndexFunc(c.samples, func(s result.Sample) bool { return s.Seconds > moment })
	if next < 0 {
		return
	}
	ended := c.samples[next] // what is measured over a time is that of the whole interval
	if ended.Broker != nil {
		broker := *ended.Broker // who was not asked at that moment
		broker.Ready, broker.Unacked = nil, nil
		ended.Broker = &broker
	}
	ended.Seconds, ended.Sent = moment, *r.Sent
	ended.Confirmed = min(ended.Confirmed, result.Value(r.Confirmed))
	// How much of what waited no longer had expired, only the sample after that says.
	over := (*r.Sent - min(*r.Sent, *r.BacklogAtSendEnd)) * readersOf(r)
	ended.Expired = min(ended.Expired, over)
	ended.Received = over - ended.Expired
	if next > 0 {
		c.ended = next
	}
	c.samples = slices.Insert(c.samples, next, ended)
}

// interval is what a rate at sample i is over: from one that was taken to the next. Between two
// of them counts were not read at the same moment, and over a short time that would be a peak.
func (c *course) interval(i int) (from, to *result.Sample) {
	before := i - 1
	switch {
	case c.ended > 0 && i == c.ended:
		i++
	case c.ended > 0 && before == c.ended:
		before--
	}
	if before < 0 {
		return new(result.Sample), &c.samples[i]
	}
	return &c.samples[before], &c.samples[i]
}

// readersOf is how often each message of a run is to be received.
func readersOf(r *result.Run) uint64 {
	if k := r.Settings.Kind; k == result.Stream || k == result.SuperStream {
		return uint64(max(1, r.Settings.Consumers))
	}
	return uint64(max(1, r.Settings.Copies))
}

// counts are the columns of what was sent and received.
func (c *course) counts(readers uint64) {
	per := func(x float64) string { return report.Number(result.PerSecond, x) }
	c.rate("sent", func(s *result.Sample) uint64 { return s.Sent })
	c.rate("confirmed", func(s *result.Sample) uint64 { return s.Confirmed })
	c.rate("received", func(s *result.Sample) uint64 { return s.Received })
	c.rate("expired", func(s *result.Sample) uint64 { return s.Expired })
	c.add("wanted", "wanted/s", per, func(s *result.Sample) float64 { return known(s.WantedRate) })
	c.add("late", "behind schedule", report.Took, func(s *result.Sample) float64 { return known(s.LateSeconds) })
	if c.columns["sent"].values != nil && (c.columns["received"].values != nil || c.columns["expired"].values != nil) {
		c.add("waiting", "sent, not received", per, func(s *result.Sample) float64 {
			return max(0, float64(s.Sent)-float64(s.Received+s.Expired)/float64(readers))
		})
	}
	c.add("ready", "ready", per, ofBroker(func(b *result.BrokerSample) float64 { return count(b.Ready) }))
	c.add("unacked", "unacked", per, ofBroker(func(b *result.BrokerSample) float64 { return count(b.Unacked) }))
	c.add("published", "broker: published/s", per, ofBroker(func(b *result.BrokerSample) float64 { return known(b.PublishRate) }))
	c.add("delivered", "broker: delivered/s", per, ofBroker(func(b *result.BrokerSample) float64 { return known(b.DeliverRate) }))
	c.add("flow", "connections in flow control", per, ofBroker(func(b *result.BrokerSample) float64 { return count(b.Flow) }))
	c.add("blocked", "connections blocked", per, ofBroker(func(b *result.BrokerSample) float64 { return count(b.Blocked) }))
}

// ofBroker is a number that the broker said; NaN where it did not answer.
func ofBroker(of func(*result.BrokerSample) float64) func(*result.Sample) float64 {
	return func(s *result.Sample) float64 {
		if s.Broker == nil {
			return math.NaN()
		}
		return of(s.Broker)
	}
}

// latencies are the columns of latencies, "confirm p99" and so on.
func (c *course) latencies() {
	for _, which := range []struct {
		name string
		of   func(*result.Sample) *result.Percentiles
	}{
		{"confirm", func(s *result.Sample) *result.Percentiles { return s.ConfirmLatency }},
		{"receive", func(s *result.Sample) *result.Percentiles { return s.ReceiveLatency }},
	} {
		for _, p := range report.Percentiles() {
			c.add(which.name+" "+p.Name, which.name+" "+p.Name, report.Took, func(s *result.Sample) float64 {
				if of := which.of(s); of != nil && of.Count > 0 {
					return p.Of(of)
				}
				return math.NaN()
			})
		}
	}
}

// resources are the columns of what both sides used.
func (c *course) resources() {
	cores := func(x float64) string { return report.Number(result.Cores, x) }
	bytes := func(x float64) string { return report.Number(result.Bytes, x) }
	c.add("client cpu", "thump: CPU", cores, func(s *result.Sample) float64 { return known(s.Client.CPU) })
	c.add("client memory", "thump: memory", bytes, func(s *result.Sample) float64 { return count(s.Client.MemoryBytes) })
	c.add("gc", "thump: GC pauses", report.Took, func(s *result.Sample) float64 { return known(s.Client.GCPauseSeconds) })
	c.add("broker cpu", "RabbitMQ: CPU", cores, ofBroker(func(b *result.BrokerSample) float64 { return known(b.CPU) }))
	c.add("broker memory", "RabbitMQ: memory", bytes, ofBroker(func(b *result.BrokerSample) float64 { return count(b.MemoryBytes) }))
	c.add("disk", "RabbitMQ: disk free", bytes, ofBroker(func(b *result.BrokerSample) float64 { return count(b.DiskFreeBytes) }))
}

// rate adds a column of how many messages a second a count grew by, unless it never did.
func (c *course) rate(key string, of func(*result.Sample) uint64) {
	if len(c.samples) == 0 || of(&c.samples[len(c.samples)-1]) == 0 {
		return
	}
	values := make([]float64, len(c.samples))
	for i := range c.samples {
		from, to := c.interval(i)
		values[i] = (float64(of(to)) - float64(of(from))) / (to.Seconds - from.Seconds)
		if to.Seconds <= from.Seconds {
			values[i] = math.NaN()
		}
	}
	c.put(key, key+"/s", func(x float64) string { return report.Number(result.PerSecond, x) }, values)
}

// add adds a column, unless no sample has anything for it.
func (c *course) add(key, head string, write func(float64) string, of func(*result.Sample) float64) {
	values := make([]float64, len(c.samples))
	for i := range c.samples {
		values[i] = of(&c.samples[i])
	}
	c.put(key, head, write, values)
}

// put is add for values that are there.
func (c *course) put(key, head string, write func(float64) string, values []float64) {
	if !slices.ContainsFunc(values, func(x float64) bool { return !math.IsNaN(x) }) {
		return
	}
	c.table.Head = append(c.table.Head, head)
	c.columns[key] = column{len(c.table.Head) - 1, values}
	c.values = append(c.values, values)
	for i, x := range values {
		text := ""
		if !math.IsNaN(x) {
			text = write(x)
		}
		c.table.Rows[i].Cells = append(c.table.Rows[i].Cells, text)
	}
}

// together is one sample for several that follow each other.
func together(samples []result.Sample) result.Sample {
	one := samples[0]
	for i := range samples[1:] {
		one = result.Merge(&one, &samples[i+1])
	}
	return one
}

func known(x *float64) float64 {
	if x == nil {
		return math.NaN()
	}
	return *x
}

func count(n *uint64) float64 {
	if n == nil {
		return math.NaN()
	}
	return float64(*n)
}
