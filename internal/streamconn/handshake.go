package streamconn

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/thumpmq/thump/internal/streamproto"
)

// handshakeFrameMax bounds the broker's frames before tuning. RabbitMQ itself
// takes frames of up to 8192 bytes from us until then.
const handshakeFrameMax = 64 << 10

// handshake is the login: peer properties, SASL, tune, open (PROTOCOL.adoc
// Authentication), done before the connection's goroutines exist, so they know
// no half-open state.
type handshake struct {
	net         net.Conn
	cfg         Config
	doing       string // for errors
	correlation uint32

	buf        *readBuffer
	start, end int // bytes of buf that are read and not parsed
	sawServer  bool

	server Server
}

// run goes through the login. What the broker sent after it stays in buf.
func (h *handshake) run() error {
	h.doing = "waiting for the broker's greeting"
	peer, err := ask[*streamproto.PeerPropertiesResponse](h, &streamproto.PeerProperties{Properties: []streamproto.Property{
		{Key: "product", Value: "thump"},
		{Key: "platform", Value: "Go"},
		{Key: "connection_name", Value: h.cfg.Name},
	}})
	if err != nil {
		return err
	}
	h.server.setProperties(peer.Properties)
	if err := h.authenticate(); err != nil {
		return err
	}
	if err := h.tune(); err != nil {
		return err
	}
	h.doing = fmt.Sprintf("opening vhost %q", h.cfg.Vhost)
	open, err := ask[*streamproto.OpenResponse](h, &streamproto.Open{VirtualHost: h.cfg.Vhost})
	if err != nil {
		return err
	}
	h.server.setAdvertised(open.Properties)
	return h.exchangeVersions()
}

func (h *handshake) authenticate() error {
	h.doing = "logging in"
	offered, err := ask[*streamproto.SASLHandshakeResponse](h, &streamproto.SASLHandshake{})
	if err != nil {
		return err
	}
	if !slices.Contains(offered.Mechanisms, h.cfg.Mechanism) {
		return fmt.Errorf("logging in: the broker offers the mechanisms %q, not %s", offered.Mechanisms, h.cfg.Mechanism)
	}
	_, err = ask[*streamproto.SASLAuthenticateResponse](h, &streamproto.SASLAuthenticate{
		Mechanism: h.cfg.Mechanism, Data: saslResponse(h.cfg.Mechanism, h.cfg.User, h.cfg.Password),
	})
	return err
}

// saslResponse is what each mechanism sends to log in.
func saslResponse(mechanism, user, password string) []byte {
	if mechanism == "EXTERNAL" {
		return []byte(user)
	}
	return []byte("\x00" + user + "\x00" + password)
}

// tune waits for the broker's limits and answers with the smaller of each and
// ours; 0 is "no limit" there.
func (h *handshake) tune() error {
	f, err := h.next()
	if err == nil && f.Key != streamproto.KeyTune {
		err = violation("%v instead of %v", f.Key, streamproto.KeyTune)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", h.doing, err)
	}
	theirs, err := streamproto.ParseTune(f)
	if err != nil {
		return fmt.Errorf("%s: %w", h.doing, err)
	}
	h.server.FrameMax = h.cfg.FrameMax
	if theirs.FrameMax != 0 {
		h.server.FrameMax = min(h.server.FrameMax, theirs.FrameMax)
	}
	if h.server.FrameMax < frameMaxLeast {
		return fmt.Errorf("%s: %w", h.doing, violation("the broker wants frames of at most %d bytes", h.server.FrameMax))
	}
	h.server.Heartbeat = min(h.cfg.Heartbeat.Round(time.Second), math.MaxInt32*time.Second)
	if theirs.Heartbeat != 0 {
		h.server.Heartbeat = min(h.server.Heartbeat, time.Duration(theirs.Heartbeat)*time.Second)
	}
	h.write(streamproto.AppendTune(nil, streamproto.Tune{
		FrameMax: h.server.FrameMax, Heartbeat: uint32(h.server.Heartbeat / time.Second),
	}))
	return nil
}

// frameMaxLeast is less than any broker is set to, and enough for every command
// but Publish.
const frameMaxLeast = 4096

// exchangeVersions asks which commands the broker has. Brokers before 3.11 would
// close the connection for the question.
func (h *handshake) exchangeVersions() error {
	if !h.server.AtLeast(3, 11) {
		h.server.commands = nil
		return nil
	}
	h.doing = "exchanging versions"
	theirs, err := ask[*streamproto.ExchangeCommandVersionsResponse](h, &streamproto.ExchangeCommandVersions{
		Commands: []streamproto.CommandVersion{
			{Key: streamproto.KeyPublish, Min: 1, Max: 2},
			{Key: streamproto.KeyDeliver, Min: 1, Max: 2},
		},
	})
	if err != nil {
		return err
	}
	h.server.commands = make(map[streamproto.Key]uint16, len(theirs.Commands))
	for _, v := range theirs.Commands {
		h.server.commands[v.Key] = v.Max
	}
	return nil
}

// write sends bytes, and leaves it to the read that follows to fail where this
// has: a server that hangs up often says why before it does, in a TLS alert or a
// Close, and that is the better error.
func (h *handshake) write(b []byte) { _, _ = h.net.Write(b) }

// ask sends a request and reads the response to it, which must be an R; the
// broker may close the connection instead, and that is the error.
func ask[R streamproto.Response](h *handshake, r streamproto.Request) (R, error) {
	var none R
	h.correlation++
	frame, err := streamproto.AppendRequest(nil, h.correlation, r)
	if err != nil {
		return none, fmt.Errorf("%s: %w", h.doing, err)
	}
	h.write(frame)
	f, err := h.next()
	if err != nil {
		return none, fmt.Errorf("%s: %w", h.doing, err)
	}
	if f.Key == streamproto.KeyClose && !f.Response {
		return none, fmt.Errorf("%s: %w", h.doing, h.closed(f))
	}
	correlation, response, err := streamproto.ParseResponse(f)
	if err != nil {
		return none, fmt.Errorf("%s: %w", h.doing, err)
	}
	// A refusal may come without what the response has otherwise.
	if response.Key() == r.Key() && response.Result() != streamproto.CodeOK {
		return none, fmt.Errorf("%s: %w", h.doing, &ServerError{Code: response.Result()})
	}
	wanted, ok := response.(R)
	if !ok || correlation != h.correlation {
		return none, fmt.Errorf("%s: %w", h.doing, violation("%v answered by a response to %v", r.Key(), response.Key()))
	}
	return wanted, nil
}

// closed is the error of a broker that says goodbye. To answer is a courtesy;
// the socket closes whether it arrives or not.
func (h *handshake) closed(f streamproto.Frame) error {
	correlation, r, err := streamproto.ParseRequest(f)
	if err != nil {
		return err
	}
	bye, ok := r.(*streamproto.Close)
	if !ok {
		return violation("%v", r.Key())
	}
	if answer, err := streamproto.AppendResponse(nil, correlation, &streamproto.Done{For: streamproto.KeyClose, Code: streamproto.CodeOK}); err == nil {
		h.write(answer)
	}
	return &ServerError{Code: bye.Code, Reason: bye.Reason}
}

// next reads up to the end of the next frame that is no heartbeat. It is valid
// until the next read.
func (h *handshake) next() (streamproto.Frame, error) {
	limits := streamproto.Limits{Frame: handshakeFrameMax, Deliver: handshakeFrameMax}
	for {
		if !h.sawServer && h.end >= 8 {
			if err := recognise(h.buf.bytes[:h.end]); err != nil {
				return streamproto.Frame{}, err
			}
			h.sawServer = true
		}
		f, n, err := streamproto.ParseFrame(h.buf.bytes[h.start:h.end], limits)
		if err != nil {
			return f, err
		}
		if n == 0 || n > h.end-h.start {
			if err := h.read(); err != nil {
				return f, err
			}
			continue
		}
		h.start += n
		if f.Key != streamproto.KeyHeartbeat {
			return f, nil
		}
	}
}

// read gets more bytes. The frames of a login are few and small: a server that
// sends more than the buffer holds is not logging us in.
func (h *handshake) read() error {
	if h.end == len(h.buf.bytes) {
		return violation("more than %d bytes sent during login", h.end)
	}
	n, err := h.net.Read(h.buf.bytes[h.end:])
	h.end += n
	if n > 0 {
		return nil
	}
	if !h.sawServer && h.end > 0 {
		if err := recognise(h.buf.bytes[:h.end]); err != nil {
			return err
		}
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the server closed the connection")
	}
	return err
}

// recognise looks at the first bytes of a server that may not be one of ours: a
// stream server's first frame is its peer properties, or its goodbye.
func recognise(b []byte) error {
	switch {
	case len(b) >= 4 && string(b[:4]) == "AMQP", len(b) >= 3 && b[0] == 1 && b[1] == 0 && b[2] == 0:
		return errors.New("the server speaks AMQP on this port; the stream protocol's is another (5552 by default), and needs RabbitMQ's plugin rabbitmq_stream")
	case len(b) >= 2 && b[0] == 0x15 && b[1] == 0x03:
		return errors.New("not a stream server: it answered with a TLS alert; is this a TLS port (rabbitmq-stream+tls)?")
	case len(b) < 8:
		return fmt.Errorf("not a stream server: it sent %.40q", b)
	}
	f := streamproto.Key(uint16(b[4])<<8 | uint16(b[5]))
	const response = 1 << 15
	if f == streamproto.KeyPeerProperties|response || f == streamproto.KeyClose {
		return nil
	}
	return fmt.Errorf("not a stream server: it sent %.40q", b[:min(len(b), 40)])
}

// parsePort reads a port number that the broker advertises; 0 for none.
func parsePort(text string) int {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}
