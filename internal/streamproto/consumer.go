package streamproto

import "strconv"

// OffsetType is how a place in a stream is given (PROTOCOL.adoc, Subscribe).
type OffsetType uint16

// The offset types, with the chunk at which each begins.
const (
	OffsetNone      OffsetType = 0 // in a ConsumerUpdateResponse: the place in the Subscribe
	OffsetFirst     OffsetType = 1 // the oldest chunk
	OffsetLast      OffsetType = 2 // the newest chunk
	OffsetNext      OffsetType = 3 // the next chunk that is published
	OffsetNumber    OffsetType = 4 // the chunk that holds this offset
	OffsetTimestamp OffsetType = 5 // the chunk that holds this time
)

// String is the type's name, such as "first".
func (t OffsetType) String() string {
	switch t {
	case OffsetNone:
		return "none"
	case OffsetFirst:
		return "first"
	case OffsetLast:
		return "last"
	case OffsetNext:
		return "next"
	case OffsetNumber:
		return "offset"
	case OffsetTimestamp:
		return "timestamp"
	}
	return "offset type " + strconv.Itoa(int(t))
}

// OffsetSpec is a place in a stream. A broker begins with a whole chunk, so the first
// chunk that it sends can hold messages from before that place.
type OffsetSpec struct {
	Type  OffsetType
	Value uint64 // OffsetNumber: the offset; OffsetTimestamp: milliseconds since 1970, an int64; others: not sent
}

// Subscribe begins the deliveries of a stream (PROTOCOL.adoc, Subscribe). It goes to
// a node that has a member of the stream.
type Subscribe struct {
	SubscriptionID uint8 // the client's choice, valid on this connection
	Stream         string
	Offset         OffsetSpec
	Credit         uint16 // chunks that the server may send; at least 2, because RabbitMQ 3.12 sends by halves of it
	Properties     []Property
}

func (*Subscribe) Key() Key { return KeySubscribe }

func (r *Subscribe) fields(c codec) {
	c.u8(&r.SubscriptionID)
	c.text("Stream", &r.Stream)
	c.offset(&r.Offset)
	c.u16(&r.Credit)
	c.optionalProperties(&r.Properties)
}

// Unsubscribe ends a subscription (PROTOCOL.adoc, Unsubscribe).
type Unsubscribe struct {
	SubscriptionID uint8
}

func (*Unsubscribe) Key() Key { return KeyUnsubscribe }

func (r *Unsubscribe) fields(c codec) { c.u8(&r.SubscriptionID) }

// Credit allows the server to send more chunks (PROTOCOL.adoc, Credit). It has no
// correlation id. The server answers only a failed one, with a CreditError.
type Credit struct {
	SubscriptionID uint8
	Credit         uint16 // chunks; RabbitMQ reads it as signed
}

// AppendCredit appends a frame that holds c. It allocates only to grow dst.
func AppendCredit(dst []byte, c Credit) []byte {
	return append(dst, 0, 0, 0, 7, 0, byte(KeyCredit), 0, 1,
		c.SubscriptionID, byte(c.Credit>>8), byte(c.Credit))
}

// ParseCredit reads a Credit. The errors are *UnexpectedFrameError and those of
// package wire.
func ParseCredit(f Frame) (Credit, error) {
	if err := expect(&f, KeyCredit, false); err != nil {
		return Credit{}, err
	}
	r := newReader(f.Body)
	c := Credit{SubscriptionID: r.U8(), Credit: r.U16()}
	return c, r.finish(&f)
}

// CreditError is the server's answer to a failed Credit. The subscription does not
// exist, or, with CodePreconditionFailed, belongs to a single active consumer that is
// not active.
type CreditError struct {
	Code           Code
	SubscriptionID uint8
}

// AppendCreditError appends a frame that holds e: a response without a correlation
// id. Brokers send it.
func AppendCreditError(dst []byte, e CreditError) []byte {
	return append(dst, 0, 0, 0, 7, responseBit>>8, byte(KeyCredit), 0, 1,
		byte(e.Code>>8), byte(e.Code), e.SubscriptionID)
}

// ParseCreditError reads a CreditError. The errors are *UnexpectedFrameError and
// those of package wire.
func ParseCreditError(f Frame) (CreditError, error) {
	if err := expect(&f, KeyCredit, true); err != nil {
		return CreditError{}, err
	}
	r := newReader(f.Body)
	e := CreditError{Code: Code(r.U16()), SubscriptionID: r.U8()}
	return e, r.finish(&f)
}

// StoreOffset stores an offset under a name (PROTOCOL.adoc, StoreOffset). The server
// never answers it, even if it fails; QueryOffset shows whether it worked.
type StoreOffset struct {
	Reference string // at most 255 bytes
	Stream    string
	Offset    uint64
}

func (s *StoreOffset) fields(c codec) {
	c.text("Reference", &s.Reference)
	c.text("Stream", &s.Stream)
	c.u64(&s.Offset)
}

// AppendStoreOffset appends a frame that holds s. The error is *StringTooLongError.
func AppendStoreOffset(dst []byte, s *StoreOffset) ([]byte, error) {
	return appendCommand(dst, KeyStoreOffset, s.fields)
}

// ParseStoreOffset reads a StoreOffset. The errors are *UnexpectedFrameError, those
// of package wire, and one for a string of negative length.
func ParseStoreOffset(f Frame) (StoreOffset, error) {
	var s StoreOffset
	err := parseCommand(&f, KeyStoreOffset, s.fields)
	return s, err
}

// QueryOffset asks for the offset stored under a name (PROTOCOL.adoc, QueryOffset).
type QueryOffset struct {
	Reference string
	Stream    string
}

func (*QueryOffset) Key() Key { return KeyQueryOffset }

func (r *QueryOffset) fields(c codec) {
	c.text("Reference", &r.Reference)
	c.text("Stream", &r.Stream)
}

// QueryOffsetResponse has the stored offset. If there is none, the code is
// CodeNoOffset; before RabbitMQ 3.10 it is CodeOK and the offset 0.
type QueryOffsetResponse struct {
	Code   Code
	Offset uint64
}

func (*QueryOffsetResponse) Key() Key { return KeyQueryOffset }

func (r *QueryOffsetResponse) Result() Code { return r.Code }

func (r *QueryOffsetResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.u64(&r.Offset)
	}
}

// ConsumerUpdate tells a single active consumer whether it is the active one
// (PROTOCOL.adoc, ConsumerUpdate). The server sends it, and closes the connection if
// the client does not answer within a minute.
type ConsumerUpdate struct {
	SubscriptionID uint8
	Active         bool
}

func (*ConsumerUpdate) Key() Key { return KeyConsumerUpdate }

func (r *ConsumerUpdate) fields(c codec) {
	c.u8(&r.SubscriptionID)
	c.boolean(&r.Active)
}

// ConsumerUpdateResponse is the client's answer: where to begin.
type ConsumerUpdateResponse struct {
	Code   Code
	Offset OffsetSpec
}

func (*ConsumerUpdateResponse) Key() Key { return KeyConsumerUpdate }

func (r *ConsumerUpdateResponse) Result() Code { return r.Code }

func (r *ConsumerUpdateResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.offset(&r.Offset)
	}
}

// ResolveOffsetSpec asks for the offset of a place (PROTOCOL.adoc,
// ResolveOffsetSpec).
type ResolveOffsetSpec struct {
	Stream     string
	Offset     OffsetSpec
	Properties []Property
}

func (*ResolveOffsetSpec) Key() Key { return KeyResolveOffsetSpec }

func (r *ResolveOffsetSpec) fields(c codec) {
	c.text("Stream", &r.Stream)
	c.offset(&r.Offset)
	c.optionalProperties(&r.Properties)
}

// ResolveOffsetSpecResponse has that offset, so far always as an OffsetNumber.
type ResolveOffsetSpecResponse struct {
	Code   Code
	Offset OffsetSpec
}

func (*ResolveOffsetSpecResponse) Key() Key { return KeyResolveOffsetSpec }

func (r *ResolveOffsetSpecResponse) Result() Code { return r.Code }

func (r *ResolveOffsetSpecResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		// Unlike elsewhere, the value is always there, whatever the type.
		offsetType := uint16(r.Offset.Type)
		c.u16(&offsetType)
		r.Offset.Type = OffsetType(offsetType)
		c.u64(&r.Offset.Value)
	}
}
