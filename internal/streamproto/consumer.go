package streamproto

import "strconv"

// OffsetType says where in a stream to begin (PROTOCOL.adoc, Subscribe).
type OffsetType uint16

// The offset types.
const (
	OffsetNone      OffsetType = 0 // in a ConsumerUpdateResponse: where the subscription said
	OffsetFirst     OffsetType = 1 // the oldest chunk there is
	OffsetLast      OffsetType = 2 // the newest chunk, whole
	OffsetNext      OffsetType = 3 // what is published from now on
	OffsetNumber    OffsetType = 4 // the chunk that holds this offset
	OffsetTimestamp OffsetType = 5 // the chunk that holds this time
)

// String is the type's name: "first".
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

// OffsetSpec is a place in a stream. A broker begins at a chunk, so the first
// chunk it sends can hold messages from before the place that was asked for.
type OffsetSpec struct {
	Type  OffsetType
	Value uint64 // OffsetNumber: the offset; OffsetTimestamp: milliseconds since 1970, an int64; otherwise not sent
}

// Subscribe begins deliveries of a stream, from a node that has a member of it
// (PROTOCOL.adoc, Subscribe).
type Subscribe struct {
	SubscriptionID uint8 // the client's choice, for this connection
	Stream         string
	Offset         OffsetSpec
	Credit         uint16 // chunks the server may send; at least 2, since RabbitMQ 3.12 sends by halves of it
	Properties     []Property
}

// Key is KeySubscribe.
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

// Key is KeyUnsubscribe.
func (*Unsubscribe) Key() Key { return KeyUnsubscribe }

func (r *Unsubscribe) fields(c codec) { c.u8(&r.SubscriptionID) }

// Credit lets the server send more chunks (PROTOCOL.adoc, Credit). It has no
// correlation id and is answered, by a CreditError, only where it failed.
type Credit struct {
	SubscriptionID uint8
	Credit         uint16 // chunks; RabbitMQ reads it as signed
}

// AppendCredit appends a frame with c in it. It allocates nothing.
func AppendCredit(dst []byte, c Credit) []byte {
	return append(dst, 0, 0, 0, 7, 0, byte(KeyCredit), 0, 1,
		c.SubscriptionID, byte(c.Credit>>8), byte(c.Credit))
}

// ParseCredit reads a Credit. The errors are *UnexpectedFrameError and wire's.
func ParseCredit(f Frame) (Credit, error) {
	if err := expect(&f, KeyCredit, false); err != nil {
		return Credit{}, err
	}
	r := newReader(f.Body)
	c := Credit{SubscriptionID: r.U8(), Credit: r.U16()}
	return c, r.finish(&f)
}

// CreditError is the server's answer to a Credit that failed: the subscription
// does not exist, or (CodePreconditionFailed) is a single active consumer's that
// is not active.
type CreditError struct {
	Code           Code
	SubscriptionID uint8
}

// AppendCreditError appends a frame with e in it: a response without a
// correlation id.
func AppendCreditError(dst []byte, e CreditError) []byte {
	return append(dst, 0, 0, 0, 7, responseBit>>8, byte(KeyCredit), 0, 1,
		byte(e.Code>>8), byte(e.Code), e.SubscriptionID)
}

// ParseCreditError reads a CreditError. The errors are *UnexpectedFrameError and
// wire's.
func ParseCreditError(f Frame) (CreditError, error) {
	if err := expect(&f, KeyCredit, true); err != nil {
		return CreditError{}, err
	}
	r := newReader(f.Body)
	e := CreditError{Code: Code(r.U16()), SubscriptionID: r.U8()}
	return e, r.finish(&f)
}

// StoreOffset keeps an offset under a name (PROTOCOL.adoc, StoreOffset). It is
// never answered, whatever goes wrong: QueryOffset says what came of it.
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

// AppendStoreOffset appends a frame with s in it. On an error, a
// *StringTooLongError, it returns dst as it was.
func AppendStoreOffset(dst []byte, s *StoreOffset) ([]byte, error) {
	return appendCommand(dst, KeyStoreOffset, s.fields)
}

// ParseStoreOffset reads a StoreOffset. The errors are *UnexpectedFrameError,
// wire's, and one for strings of negative length.
func ParseStoreOffset(f Frame) (StoreOffset, error) {
	var s StoreOffset
	err := parseCommand(&f, KeyStoreOffset, s.fields)
	return s, err
}

// QueryOffset asks what was stored under a name (PROTOCOL.adoc, QueryOffset).
type QueryOffset struct {
	Reference string
	Stream    string
}

// Key is KeyQueryOffset.
func (*QueryOffset) Key() Key { return KeyQueryOffset }

func (r *QueryOffset) fields(c codec) {
	c.text("Reference", &r.Reference)
	c.text("Stream", &r.Stream)
}

// QueryOffsetResponse has the offset stored. Where there is none the code is
// CodeNoOffset, and before RabbitMQ 3.10 the offset 0.
type QueryOffsetResponse struct {
	Code   Code
	Offset uint64
}

// Key is KeyQueryOffset.
func (*QueryOffsetResponse) Key() Key { return KeyQueryOffset }

// Result is the response's code.
func (r *QueryOffsetResponse) Result() Code { return r.Code }

func (r *QueryOffsetResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.u64(&r.Offset)
	}
}

// ConsumerUpdate tells a single active consumer whether it is the active one
// (PROTOCOL.adoc, ConsumerUpdate). The server asks, and closes the connection
// when it is not answered within a minute.
type ConsumerUpdate struct {
	SubscriptionID uint8
	Active         bool
}

// Key is KeyConsumerUpdate.
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

// Key is KeyConsumerUpdate.
func (*ConsumerUpdateResponse) Key() Key { return KeyConsumerUpdate }

// Result is the response's code.
func (r *ConsumerUpdateResponse) Result() Code { return r.Code }

func (r *ConsumerUpdateResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.offset(&r.Offset)
	}
}

// ResolveOffsetSpec asks which offset a place is (PROTOCOL.adoc,
// ResolveOffsetSpec).
type ResolveOffsetSpec struct {
	Stream     string
	Offset     OffsetSpec
	Properties []Property
}

// Key is KeyResolveOffsetSpec.
func (*ResolveOffsetSpec) Key() Key { return KeyResolveOffsetSpec }

func (r *ResolveOffsetSpec) fields(c codec) {
	c.text("Stream", &r.Stream)
	c.offset(&r.Offset)
	c.optionalProperties(&r.Properties)
}

// ResolveOffsetSpecResponse has the place found: so far always an OffsetNumber.
type ResolveOffsetSpecResponse struct {
	Code   Code
	Offset OffsetSpec
}

// Key is KeyResolveOffsetSpec.
func (*ResolveOffsetSpecResponse) Key() Key { return KeyResolveOffsetSpec }

// Result is the response's code.
func (r *ResolveOffsetSpecResponse) Result() Code { return r.Code }

func (r *ResolveOffsetSpecResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		// Unlike elsewhere the value is there whatever the type.
		offsetType := uint16(r.Offset.Type)
		c.u16(&offsetType)
		r.Offset.Type = OffsetType(offsetType)
		c.u64(&r.Offset.Value)
	}
}
