package streamconn

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

const (
	// handshakeFrameMax bounds the broker's frames before tuning.
	handshakeFrameMax = 64 << 10

	// loginFrameMax is the largest frame that RabbitMQ takes from us until then,
	// unless it is configured otherwise (rabbit_stream_reader.erl; since 4.1).
	loginFrameMax = 8192
)

// handshake is the login: peer properties, SASL, tune, open (PROTOCOL.adoc
// Authentication).
type handshake struct {
	*transport.Login
	cfg         transport.Config
	correlation uint32
	server      Server
}

// run goes through the login. What the broker sent after it stays unread.
func (h *handshake) run(l *transport.Login) error {
	h.Login = l
	h.Doing = "waiting for the broker's greeting"
	peer, err := ask[*streamproto.PeerPropertiesResponse](h, &streamproto.PeerProperties{Properties: []streamproto.Property{
		{Key: "product", Value: "thump"},
		{Key: "platform", Value: "Go"},
		{Key: "connection_name", Value: h.cfg.Name},
	}})
	if err != nil {
		return err
	}
	h.server.setProperties(peer.Properties)
	h.Doing = "logging in"
	if err := h.authenticate(); err != nil {
		return err
	}
	if err := h.tune(); err != nil {
		return err
	}
	h.Doing = fmt.Sprintf("opening vhost %q", h.cfg.Vhost)
	open, err := ask[*streamproto.OpenResponse](h, &streamproto.Open{VirtualHost: h.cfg.Vhost})
	if err != nil {
		return err
	}
	h.server.setAdvertised(open.Properties)
	return h.exchangeVersions()
}

func (h *handshake) authenticate() error {
	offered, err := ask[*streamproto.SASLHandshakeResponse](h, &streamproto.SASLHandshake{})
	if err != nil {
		return err
	}
	if !slices.Contains(offered.Mechanisms, h.cfg.Mechanism) {
		return &transport.MechanismError{Offered: fmt.Sprintf("%q", offered.Mechanisms), Wanted: h.cfg.Mechanism}
	}
	_, err = ask[*streamproto.SASLAuthenticateResponse](h, &streamproto.SASLAuthenticate{
		Mechanism: h.cfg.Mechanism, Data: []byte(transport.SASLResponse(h.cfg.Mechanism, h.cfg.User, h.cfg.Password)),
	})
	return err
}

// tune waits for the broker's limits and answers with the smaller of each and
// ours; 0 is "no limit" there.
func (h *handshake) tune() error {
	f, err := h.next()
	if err != nil {
		return err
	}
	if f.Key != streamproto.KeyTune {
		return violation("%v instead of %v", f.Key, streamproto.KeyTune)
	}
	theirs, err := streamproto.ParseTune(f)
	if err != nil {
		return err
	}
	h.server.FrameMax = transport.Agreed(h.cfg.FrameMax, theirs.FrameMax)
	if h.server.FrameMax < frameMaxLeast {
		return violation("the broker wants frames of at most %d bytes", h.server.FrameMax)
	}
	ours := min(h.cfg.Heartbeat.Round(time.Second), math.MaxInt32*time.Second)
	h.server.Heartbeat = transport.Agreed(ours, time.Duration(theirs.Heartbeat)*time.Second)
	h.Write(streamproto.AppendTune(nil, streamproto.Tune{
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
	h.Doing = "exchanging versions"
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

// ask sends a request and reads the response to it, which must be an R; the
// broker may close the connection instead, and that is the error.
func ask[R streamproto.Response](h *handshake, r streamproto.Request) (R, error) {
	var none R
	h.correlation++
	frame, err := streamproto.AppendRequest(nil, h.correlation, r)
	if err != nil {
		return none, err
	}
	h.Sends(len(frame), loginFrameMax, &h.cfg)
	h.Write(frame)
	f, err := h.next()
	if err != nil {
		return none, err
	}
	if f.Key == streamproto.KeyClose && !f.Response {
		return none, h.closed(f)
	}
	correlation, response, err := streamproto.ParseResponse(f)
	if err != nil {
		return none, err
	}
	// A refusal may come without what the response has otherwise.
	if response.Key() == r.Key() && response.Result() != streamproto.CodeOK {
		return none, &ServerError{Code: response.Result(), Request: r.Key()}
	}
	wanted, ok := response.(R)
	if !ok || correlation != h.correlation {
		return none, violation("%v answered by a response to %v", r.Key(), response.Key())
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
		h.Write(answer)
	}
	return &ServerError{Code: bye.Code, Reason: printable.Text(bye.Reason)}
}

// next reads up to the end of the next frame that is no heartbeat. The frame
// aliases the buffer until the next read.
func (h *handshake) next() (streamproto.Frame, error) {
	limits := streamproto.Limits{Frame: handshakeFrameMax, Deliver: handshakeFrameMax}
	for {
		unread := h.Unread()
		f, n, err := streamproto.ParseFrame(unread, limits)
		if err != nil {
			return f, err
		}
		if n == 0 || n > len(unread) {
			if err := h.Read(); err != nil {
				return f, err
			}
			continue
		}
		h.Skip(n)
		if f.Key != streamproto.KeyHeartbeat {
			return f, nil
		}
	}
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
