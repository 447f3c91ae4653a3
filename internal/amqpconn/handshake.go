package amqpconn

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// handshakeFrameMax bounds frames before tuning. The specification says 4096
// (AMQP 0-9-1 4.2.3, frame-min-size); connection.start of a broker with many
// plugins and capabilities comes near it, so some slack is allowed.
const handshakeFrameMax = 16 << 10

// handshake is the login: protocol header, start, tune, open (AMQP 0-9-1 2.2.4),
// done before the connection's goroutines exist, so they know no half-open state.
type handshake struct {
	net   net.Conn
	cfg   Config
	doing string // for errors

	buf        *readBuffer
	start, end int // bytes of buf that are read and not parsed
	sawServer  bool

	server Server
}

// run goes through the login. What the broker sent after it stays in buf.
func (h *handshake) run() error {
	h.doing = "waiting for the broker's greeting"
	h.write([]byte(amqpproto.ProtocolHeader))
	start, err := expect[*amqpproto.ConnectionStart](h)
	if err != nil {
		return err
	}
	h.server.Properties = start.ServerProperties

	h.doing = "logging in"
	response, err := h.saslResponse(start.Mechanisms)
	if err != nil {
		return err
	}
	err = h.send(&amqpproto.ConnectionStartOk{
		ClientProperties: h.clientProperties(), Mechanism: h.cfg.Mechanism, Response: response, Locale: "en_US",
	})
	if err != nil {
		return err
	}
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

	h.doing = fmt.Sprintf("opening vhost %q", h.cfg.Vhost)
	if err := h.send(&amqpproto.ConnectionOpen{VirtualHost: h.cfg.Vhost}); err != nil {
		return err
	}
	_, err = expect[*amqpproto.ConnectionOpenOk](h)
	return err
}

// saslResponse answers for the mechanism that was asked for, if it is offered.
func (h *handshake) saslResponse(offered string) (string, error) {
	if !slices.Contains(strings.Fields(offered), h.cfg.Mechanism) {
		return "", fmt.Errorf("logging in: the broker offers the mechanisms %q, not %s", offered, h.cfg.Mechanism)
	}
	if h.cfg.Mechanism == "EXTERNAL" {
		return h.cfg.User, nil
	}
	return "\x00" + h.cfg.User + "\x00" + h.cfg.Password, nil
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
	h.server.FrameMax = h.cfg.FrameMax
	if t.FrameMax != 0 {
		if t.FrameMax < amqpproto.FrameMinSize {
			return fmt.Errorf("%s: %w", h.doing, violation("the broker wants frames of at most %d bytes, and AMQP asks for %d", t.FrameMax, amqpproto.FrameMinSize))
		}
		h.server.FrameMax = min(t.FrameMax, h.cfg.FrameMax)
	}
	h.server.ChannelMax = h.cfg.ChannelMax
	if t.ChannelMax != 0 {
		h.server.ChannelMax = min(t.ChannelMax, h.cfg.ChannelMax)
	}
	h.server.Heartbeat = min(h.cfg.Heartbeat.Round(time.Second), math.MaxUint16*time.Second)
	if t.Heartbeat != 0 {
		h.server.Heartbeat = min(h.server.Heartbeat, time.Duration(t.Heartbeat)*time.Second)
	}
	return nil
}

func (h *handshake) send(m amqpproto.Method) error {
	frame, err := amqpproto.AppendMethodFrame(nil, 0, m)
	if err != nil {
		return fmt.Errorf("%s: %w", h.doing, err)
	}
	h.write(frame)
	return nil
}

// write sends bytes, and leaves it to the read that follows to fail where this
// has: a server that hangs up often says why before it does, in a TLS alert or a
// connection.close, and that is the better error.
func (h *handshake) write(b []byte) { _, _ = h.net.Write(b) }

// expect reads the next method, which must be an M; the broker may say
// connection.close instead, and that is the error.
func expect[M amqpproto.Method](h *handshake) (M, error) {
	var none M
	m, err := h.next()
	if err != nil {
		return none, fmt.Errorf("%s: %w", h.doing, err)
	}
	if wanted, ok := m.(M); ok {
		return wanted, nil
	}
	if shut, ok := m.(*amqpproto.ConnectionClose); ok {
		// The answer is a courtesy; the socket closes whether it arrives or not.
		_ = h.send(&amqpproto.ConnectionCloseOk{})
		return none, fmt.Errorf("%s: %w", h.doing, serverError(shut))
	}
	return none, fmt.Errorf("%s: %w", h.doing, violation("%s instead of %s", m.ID(), none.ID()))
}

// next reads up to the end of the next method frame on channel 0.
func (h *handshake) next() (amqpproto.Method, error) {
	for {
		if !h.sawServer {
			// No frame is shorter than eight bytes; a TLS alert is.
			if h.end < 8 {
				if err := h.read(); err != nil {
					return nil, err
				}
				continue
			}
			if err := recognise(h.buf.bytes[:h.end]); err != nil {
				return nil, err
			}
			h.sawServer = true
		}
		frame, n, err := amqpproto.ParseFrame(h.buf.bytes[h.start:h.end], handshakeFrameMax)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			if err := h.read(); err != nil {
				return nil, err
			}
			continue
		}
		h.start += n
		switch {
		case frame.Type == amqpproto.FrameHeartbeat:
		case frame.Type == amqpproto.FrameMethod && frame.Channel == 0:
			return amqpproto.ParseMethod(frame.Payload)
		default:
			return nil, violation("frame of type %d on channel %d during login", frame.Type, frame.Channel)
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

func serverError(m *amqpproto.ConnectionClose) *ServerError {
	return &ServerError{Code: m.ReplyCode, Text: m.ReplyText, Method: amqpproto.NewMethodID(m.ClassID, m.MethodID)}
}
