package streamproto

// DeclarePublisher makes a publisher on the node that leads the stream
// (PROTOCOL.adoc, DeclarePublisher).
type DeclarePublisher struct {
	PublisherID uint8  // the client's choice, for this connection
	Reference   string // at most 255 bytes; the name to deduplicate by, or empty
	Stream      string
}

// Key is KeyDeclarePublisher.
func (*DeclarePublisher) Key() Key { return KeyDeclarePublisher }

func (r *DeclarePublisher) fields(c codec) {
	c.u8(&r.PublisherID)
	c.text("PublisherReference", &r.Reference)
	c.text("Stream", &r.Stream)
}

// QueryPublisherSequence asks for the highest publishing id that a reference has
// published (PROTOCOL.adoc, QueryPublisherSequence).
type QueryPublisherSequence struct {
	Reference string
	Stream    string
}

// Key is KeyQueryPublisherSequence.
func (*QueryPublisherSequence) Key() Key { return KeyQueryPublisherSequence }

func (r *QueryPublisherSequence) fields(c codec) {
	c.text("PublisherReference", &r.Reference)
	c.text("Stream", &r.Stream)
}

// QueryPublisherSequenceResponse has that id. It is 0 for a reference that has
// published nothing, so ids begin at 1.
type QueryPublisherSequenceResponse struct {
	Code     Code
	Sequence uint64
}

// Key is KeyQueryPublisherSequence.
func (*QueryPublisherSequenceResponse) Key() Key { return KeyQueryPublisherSequence }

// Result is the response's code.
func (r *QueryPublisherSequenceResponse) Result() Code { return r.Code }

func (r *QueryPublisherSequenceResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.u64(&r.Sequence)
	}
}

// DeletePublisher ends a publisher (PROTOCOL.adoc, DeletePublisher).
type DeletePublisher struct {
	PublisherID uint8
}

// Key is KeyDeletePublisher.
func (*DeletePublisher) Key() Key { return KeyDeletePublisher }

func (r *DeletePublisher) fields(c codec) { c.u8(&r.PublisherID) }
