package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/load"
	"github.com/thumpmq/thump/internal/result"
)

// newRecord begins the record of a command: what is known before it has done
// anything.
func newRecord(command string, c *connection, p *prepared) *result.Result {
	server := c.client.Server()
	return &result.Result{
		Version: result.Version,
		Command: command,
		Broker:  result.Broker{Product: server.Product, Version: server.Version, Private: c.node != nil},
		Settings: result.Settings{
			ThumpVersion: version(), URL: c.url, StreamURL: c.streamURL,
			Queue: p.place.Name, Kind: p.kind, Durable: p.durable, Partitions: p.partitions,
		},
	}
}

// putSettings adds the settings of a stream's publishers.
func (f *streamSendFlags) putSettings(s *result.Settings) {
	s.SubEntry, s.Compression, s.PublisherName = f.subEntry, f.compression.String(), f.name
}

// putMaxBytes adds how much a stream keeps, where the command has made it, or
// made sure.
func putMaxBytes(s *result.Settings, f *placeFlags, p *prepared) {
	if p.place.Streams() {
		s.StreamMaxBytes = uint64(f.maxBytes)
	}
}

// putSettings adds the settings of a stream's consumers.
func (f *streamReceiveFlags) putSettings(s *result.Settings) {
	s.Offset, s.Until, s.ConsumerName = f.offset.String(), f.until.text, f.name
}

// putSettings adds the settings of the sending side.
func (f *sendFlags) putSettings(s *result.Settings, work *load.SendConfig) {
	s.Count, s.Publishers, s.Confirms = work.Count, work.Publishers, !work.NoConfirms
	s.Body, s.BodyBytes = "tutorial", work.LargestBody()
	if f.body > 0 {
		s.Body = fmt.Sprintf("%d bytes", int(f.body))
	}
	if !f.noConfirms {
		s.Window = work.Window
	}
}

// putSettings adds the settings of the receiving side.
func (f *receiveFlags) putSettings(s *result.Settings) {
	s.Consumers, s.AutoAck = f.consumers, f.autoAck
	if !f.autoAck && !s.Streams() {
		s.Prefetch = f.prefetch
	}
}

// putSent adds what became of the messages that were sent.
func putSent(r *result.Result, sent load.Sent) {
	c := sent.Counts
	r.Sent, r.Confirmed, r.Rejected = &c.Published, &c.Confirmed, &c.Rejected
	r.Returned, r.Unknown = &c.Returned, &c.Unknown
	if sent.First.IsZero() {
		return
	}
	rated := r.Confirmed
	if !r.Settings.Confirms {
		rated = r.Sent
	}
	if sent.WireBytes > 0 {
		r.BytesOnWire = &sent.WireBytes
		r.CompressionRatio = new(float64(sent.BodyBytes) / float64(sent.WireBytes))
	}
	if !sent.Last.IsZero() {
		r.SendSeconds = seconds(sent.Last.Sub(sent.First))
		r.SendRatePerSecond = result.Rate(rated, r.SendSeconds)
	}
}

// putDeliveryTimes adds when deliveries came.
func putDeliveryTimes(r *result.Result, first, last time.Time) {
	if first.IsZero() {
		return
	}
	r.ReceiveSeconds = seconds(last.Sub(first))
	r.ReceiveRatePerSecond = result.Rate(r.Received, r.ReceiveSeconds)
}

func seconds(d time.Duration) *float64 { return new(d.Seconds()) }

// meter measures what this process and the private broker use from its start.
type meter struct {
	conn     *connection
	client   load.Usage
	clientOK bool
	broker   float64
	brokerOK bool
}

func startMeter(c *connection) *meter {
	m := &meter{conn: c}
	m.client, m.clientOK = load.ReadUsage()
	m.broker, m.brokerOK = c.brokerCPU()
	return m
}

// stop adds what was used since the start.
func (m *meter) stop(r *result.Result) {
	if now, ok := load.ReadUsage(); ok && m.clientOK {
		r.ClientCPUSeconds = seconds(now.CPU - m.client.CPU)
		if now.PeakRSSBytes > 0 {
			r.ClientRSSPeakBytes = &now.PeakRSSBytes
		}
	}
	if now, ok := m.conn.brokerCPU(); ok && m.brokerOK {
		r.BrokerCPUSeconds = new(now - m.broker)
	}
}

// brokerCPU is the processor time that the broker has used, where it is a
// private one.
func (c *connection) brokerCPU() (seconds float64, ok bool) {
	if c.node == nil {
		return 0, false
	}
	return c.node.CPUSeconds()
}

// verdictError is the error that ends a command with the given record: nil for
// one that is ok.
func verdictError(r *result.Result, ended error) error {
	switch r.Verdict {
	case result.OK:
		return nil
	case result.Violated:
		return fmt.Errorf("%w: %s", errViolated, *r.Reason)
	case result.Interrupted:
		return errInterrupted
	default:
		if ended != nil {
			return ended
		}
		return errors.New(*r.Reason)
	}
}

// endedBy is why a command's work ended with err, without the error that the
// second Ctrl-C makes of everything.
func endedBy(err error, interrupted bool) error {
	if _, refused := errors.AsType[*thump.BrokerError](err); interrupted && !refused {
		return nil
	}
	return err
}

// jsonFile is where the result goes as JSON. It is opened before the work
// begins, so that a million messages are not sent for a report that cannot be
// written.
type jsonFile struct {
	path    string
	file    *os.File // nil for standard output
	created bool
}

// openJSON opens the file called path; "" for none, which is nil.
func openJSON(path string) (*jsonFile, error) {
	if path == "" {
		return nil, nil
	}
	if path == "-" {
		return &jsonFile{path: path}, nil
	}
	j := &jsonFile{path: path}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		j.created = true
	}
	// Not truncated yet: an older result stays until there is a newer one.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--json: %w", err)
	}
	j.file = file
	return j, nil
}

// stdout says whether standard output belongs to the JSON alone.
func (j *jsonFile) stdout() bool { return j != nil && j.file == nil }

// record is a result.Result or a result.Set.
type record interface{ Write(w io.Writer) error }

// write writes the record.
func (j *jsonFile) write(u *ui, r record) error {
	if j == nil {
		return nil
	}
	if j.file == nil {
		return r.Write(u.stdout)
	}
	file := j.file
	j.file = nil
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		if err := file.Truncate(0); err != nil {
			return errors.Join(fmt.Errorf("--json: %w", err), file.Close())
		}
	}
	if err := r.Write(file); err != nil {
		return errors.Join(fmt.Errorf("--json: %w", err), file.Close())
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return nil
}

// discard closes a file that nothing was written to, and removes it if it was
// not there before.
func (j *jsonFile) discard() {
	if j == nil || j.file == nil {
		return
	}
	// Nothing was written, so there is nothing to lose by an error here.
	_ = j.file.Close()
	if j.created {
		_ = os.Remove(j.path)
	}
}
