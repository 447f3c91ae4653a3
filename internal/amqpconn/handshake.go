package amqpconn

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/transport"
)

// handshakeFrameMax bounds frames before tuning. The specification says 4096
// (AMQP 0-9-1 4.2.3, frame-min-size); connection.start of a broker with many
// plugins and capabilities comes near it, so some slack is allowed.
const handshakeFrameMax = 16 << 10

// handshake is the login: protocol header, start, tune, open (AMQP 0-9-1 2.2.4).
type handshake struct {
	*transport.Login
	cfg    Config
	server Server
}

// run goes through the login. What the broker sent after it stays unread.
func (h *handshake) run(l *transport.Login) error {
	h.Login = l
	h.Doing = "waiting for the broker's greeting"
	h.Write([]byte(amqpproto.ProtocolHeader))
	start, err := expect[*amqpproto.ConnectionStart](h)
	if err != nil {
		return err
	}
	h.server.Properties = start.ServerProperties

	h.Doing = "logging in"
	if !slices.Contains(strings.Fields(start.Mechanisms), h.cfg.Mechanism) {
		return &transport.MechanismError{Offered: strconv.Quote(start.Mechanisms), Wanted: h.cfg.Mechanism}
	}
	login, err := amqpproto.AppendMethodFrame(nil, 0, &amqpproto.ConnectionStartOk{
		ClientProperties: h.clientProperties(), Mechanism: h.cfg.Mechanism,
		Response: transport.SASLResponse(h.cfg.Mechanism, h.cfg.User, h.cfg.Password), Locale: "en_US",
	})
	if err != nil {
		return err
	}
	h.Sends(len(login), loginFrameMax(start.ServerProperties), &h.cfg.Config)
	h.Write(login)
	tune, err := expect[*amqpproto.ConnectionTune](h)
	if err != nil {
		return err
	}
	if err := h.tune(tune); err != nil {
		return err
	}
	err = h.send(&amqpproto.ConnectionTuneOk{
		ChannelMax: h.server.ChannelMax, FrameMax: h.server.FrameMax,
		Heartbeat: uint16(h.server.Heartbeat / time.Second),
	})
	if err != nil {
		return err
	}

	h.Doing = fmt.Sprintf("opening vhost %q", h.cfg.Vhost)
	if err := h.send(&amqpproto.ConnectionOpen{VirtualHost: h.cfg.Vhost}); err != nil {
		return err
	}
	_, err = expect[*amqpproto.ConnectionOpenOk](h)
	return err
}

// loginFrameMax is the largest frame, in bytes, that a broker takes before it has
// tuned the connection, unless it is configured otherwise (rabbit_reader.erl).
func loginFrameMax(properties amqpproto.Table) int {
	version, _ := properties.Get("version")
	text, _ := version.(string)
	var major, minor int
	if _, err := fmt.Sscanf(text, "%d.%d", &major, &minor); err == nil && (major > 4 || major == 4 && minor >= 1) {
		return 8192
	}
	return amqpproto.FrameMinSize
}

func (h *handshake) clientProperties() amqpproto.Table {
	return amqpproto.Table{
		{Key: "product", Value: "thump"},
		{Key: "platform", Value: "Go"},
		{Key: "connection_name", Value: h.cfg.Name},
		{Key: "capabilities", Value: amqpproto.Table{
			{Key: "publisher_confirms", Value: true},
			{Key: "exchange_exchange_bindings", Value: true},
			{Key: "basic.nack", Value: true},
			{Key: "consumer_cancel_notify", Value: true},
			{Key: "connection.blocked", Value: true},
			// Without this a wrong password is a closed socket and nothing said.
			{Key: "authentication_failure_close", Value: true},
		}},
	}
}

// tune takes the smaller of what each side proposes. RabbitMQ refuses an answer
// of 0, "no limit", where it has named a limit itself, so we never say 0.
func (h *handshake) tune(t *amqpproto.ConnectionTune) error {
	if t.FrameMax != 0 && t.FrameMax < amqpproto.FrameMinSize {
		return violation("the broker wants frames of at most %d bytes, and AMQP asks for %d", t.FrameMax, amqpproto.FrameMinSize)
	}
	h.server.FrameMax = transport.Agreed(h.cfg.FrameMax, t.FrameMax)
	h.server.ChannelMax = transport.Agreed(h.cfg.ChannelMax, t.ChannelMax)
	ours := min(h.cfg.Heartbeat.Round(time.Second), math.MaxUint16*time.Second)
	h.server.Heartbeat = transport.Agreed(ours, time.Duration(t.Heartbeat)*time.Second)
	return nil
}

func (h *handshake) send(m amqpproto.Method) error {
	frame, err := amqpproto.AppendMethodFrame(nil, 0, m)
	if err == nil {
		h.Write(frame)
	}
	return err
}

// expect reads the next method, which must be an M; the broker may say
// connection.close instead, and that is the error.
func expect[M amqpproto.Method](h *handshake) (M, error) {
	var none M
	m, err := h.next()
	if err != nil {
		return none, err
	}
	switch m := m.(type) {
	case M:
		return m, nil
	case *amqpproto.ConnectionClose:
		// The answer is a courtesy; the socket closes whether it arrives or not.
		_ = h.send(&amqpproto.ConnectionCloseOk{})
		return none, serverError(m)
	}
	return none, violation("%s instead of %s", m.ID(), none.ID())
}

// next reads up to the end of the next method frame on channel 0.
func (h *handshake) next() (amqpproto.Method, error) {
	for {
		frame, n, err := amqpproto.ParseFrame(h.Unread(), handshakeFrameMax)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			if err := h.Read(); err != nil {
				return nil, err
			}
			continue
		}
		h.Skip(n)
		switch {
		case frame.Type == amqpproto.FrameHeartbeat:
		case frame.Type == amqpproto.FrameMethod && frame.Channel == 0:
			return amqpproto.ParseMethod(frame.Payload)
		default:
			return nil, violation("frame of type %d on channel %d during login", frame.Type, frame.Channel)
		}
	}
}

// recognise looks at the first bytes of a server that may not be one of ours.
func recognise(b []byte) error {
	switch {
	case len(b) >= 3 && b[0] == amqpproto.FrameMethod && b[1] == 0 && b[2] == 0:
		return nil
	case len(b) >= 8 && string(b[:4]) == "AMQP":
		return fmt.Errorf("the server does not speak AMQP 0-9-1: it asks for AMQP with the header % x", b[4:8])
	case len(b) >= 2 && b[0] == 0x15 && b[1] == 0x03:
		return errors.New("not an AMQP server: it answered with a TLS alert; is this a TLS port (amqps)?")
	default:
		return fmt.Errorf("not an AMQP server: it sent %.40q", b[:min(len(b), 40)])
	}
}
