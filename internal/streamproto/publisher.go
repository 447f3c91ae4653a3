package streamproto

// DeclarePublisher makes a publisher on the node that leads the stream
// (PROTOCOL.adoc, DeclarePublisher).
type DeclarePublisher struct {
	PublisherID uint8  // the client's choice, valid on this connection
	Reference   string // the name to deduplicate by, at most 255 bytes; may be empty
	Stream      string
}

func (*DeclarePublisher) Key() Key { return KeyDeclarePublisher }

func (r *DeclarePublisher) fields(c codec) {
	c.u8(&r.PublisherID)
	c.text("PublisherReference", &r.Reference)
	c.text("Stream", &r.Stream)
}

// QueryPublisherSequence asks for the highest publishing id that was published with a
// reference (PROTOCOL.adoc, QueryPublisherSequence).
type QueryPublisherSequence struct {
	Reference string
	Stream    string
}

func (*QueryPublisherSequence) Key() Key { return KeyQueryPublisherSequence }

func (r *QueryPublisherSequence) fields(c codec) {
	c.text("PublisherReference", &r.Reference)
	c.text("Stream", &r.Stream)
}

// QueryPublisherSequenceResponse has that id. It is 0 if nothing was published with
// the reference, so publishing ids begin with 1.
type QueryPublisherSequenceResponse struct {
	Code     Code
	Sequence uint64
}

func (*QueryPublisherSequenceResponse) Key() Key { return KeyQueryPublisherSequence }

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

func (*DeletePublisher) Key() Key { return KeyDeletePublisher }

func (r *DeletePublisher) fields(c codec) { c.u8(&r.PublisherID) }
