package streamproto

// Create makes a stream (PROTOCOL.adoc, Create).
type Create struct {
	Stream    string
	Arguments []Property // "max-length-bytes", "max-age", "stream-max-segment-size-bytes", ...
}

func (*Create) Key() Key { return KeyCreate }

func (r *Create) fields(c codec) {
	c.text("Stream", &r.Stream)
	c.properties(&r.Arguments)
}

// Delete deletes a stream and everything in it (PROTOCOL.adoc, Delete).
type Delete struct {
	Stream string
}

func (*Delete) Key() Key { return KeyDelete }

func (r *Delete) fields(c codec) { c.text("Stream", &r.Stream) }

// Metadata asks which brokers have streams (PROTOCOL.adoc, Metadata).
type Metadata struct {
	Streams []string
}

func (*Metadata) Key() Key { return KeyMetadata }

func (r *Metadata) fields(c codec) { c.texts("Stream", &r.Streams) }

// MetadataResponse has a list of brokers, and says for each stream which of them
// has its leader and which its replicas. Neither list is in any order.
type MetadataResponse struct {
	Brokers []Broker
	Streams []StreamMetadata
}

// Broker is a node and the address that it advertises.
type Broker struct {
	Reference uint16 // its number in StreamMetadata
	Host      string
	Port      uint32
}

func (b *Broker) fields(c codec) {
	c.u16(&b.Reference)
	c.text("Host", &b.Host)
	c.u32(&b.Port)
}

// NoLeader is the Leader of a stream that has none at the moment, or whose leader's
// node could not be asked.
const NoLeader = 0xFFFF

// StreamMetadata says which brokers have a stream.
type StreamMetadata struct {
	Stream   string
	Code     Code     // CodeOK, CodeStreamDoesNotExist, CodeStreamNotAvailable or CodeAccessRefused
	Leader   uint16   // a Broker's Reference, or NoLeader
	Replicas []uint16 // References of the other members' brokers
}

func (s *StreamMetadata) fields(c codec) {
	c.text("StreamName", &s.Stream)
	c.code(&s.Code)
	c.u16(&s.Leader)
	c.shorts(&s.Replicas)
}

func (*MetadataResponse) Key() Key { return KeyMetadata }

func (*MetadataResponse) Result() Code { return CodeOK }

func (r *MetadataResponse) fields(c codec) {
	c.brokers(&r.Brokers)
	c.streams(&r.Streams)
}

// MetadataUpdate says that a stream was deleted or is moving, and that its publishers
// and subscriptions on this connection have ended (PROTOCOL.adoc, MetadataUpdate). It
// has no correlation id.
type MetadataUpdate struct {
	Code   Code // so far always CodeStreamNotAvailable
	Stream string
}

func (m *MetadataUpdate) fields(c codec) {
	c.code(&m.Code)
	c.text("Stream", &m.Stream)
}

// AppendMetadataUpdate appends a frame that holds m. The error is
// *StringTooLongError.
func AppendMetadataUpdate(dst []byte, m *MetadataUpdate) ([]byte, error) {
	return appendCommand(dst, KeyMetadataUpdate, m.fields)
}

// ParseMetadataUpdate reads a MetadataUpdate. The errors are *UnexpectedFrameError,
// those of package wire, and one for a string of negative length.
func ParseMetadataUpdate(f Frame) (MetadataUpdate, error) {
	var m MetadataUpdate
	err := parseCommand(&f, KeyMetadataUpdate, m.fields)
	return m, err
}

// Route asks which partitions of a super stream are bound with a routing key
// (PROTOCOL.adoc, Route).
type Route struct {
	RoutingKey  string
	SuperStream string
}

func (*Route) Key() Key { return KeyRoute }

func (r *Route) fields(c codec) {
	c.text("RoutingKey", &r.RoutingKey)
	c.text("SuperStream", &r.SuperStream)
}

// RouteResponse names those partitions. If there are none, Streams is empty and the
// code is CodeOK.
type RouteResponse struct {
	Code    Code
	Streams []string
}

func (*RouteResponse) Key() Key { return KeyRoute }

func (r *RouteResponse) Result() Code { return r.Code }

func (r *RouteResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.texts("Stream", &r.Streams)
	}
}

// Partitions asks for the partitions of a super stream (PROTOCOL.adoc,
// Partitions).
type Partitions struct {
	SuperStream string
}

func (*Partitions) Key() Key { return KeyPartitions }

func (r *Partitions) fields(c codec) { c.text("SuperStream", &r.SuperStream) }

// PartitionsResponse names the partitions, in order.
type PartitionsResponse struct {
	Code    Code
	Streams []string
}

func (*PartitionsResponse) Key() Key { return KeyPartitions }

func (r *PartitionsResponse) Result() Code { return r.Code }

func (r *PartitionsResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.texts("Stream", &r.Streams)
	}
}

// StreamStats asks for statistics of a stream (PROTOCOL.adoc, StreamStats).
type StreamStats struct {
	Stream string
}

func (*StreamStats) Key() Key { return KeyStreamStats }

func (r *StreamStats) fields(c codec) { c.text("Stream", &r.Stream) }

// StreamStatsResponse has the statistics of the member on the node that was asked.
type StreamStatsResponse struct {
	Code  Code
	Stats []Stat
}

// Stat is one statistic: "first_chunk_id", "last_chunk_id", "committed_chunk_id", and
// since RabbitMQ 4.3 "committed_offset". All are -1 for an empty stream.
type Stat struct {
	Name  string
	Value int64
}

func (s *Stat) fields(c codec) {
	c.text("Key", &s.Name)
	c.i64(&s.Value)
}

func (*StreamStatsResponse) Key() Key { return KeyStreamStats }

func (r *StreamStatsResponse) Result() Code { return r.Code }

func (r *StreamStatsResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.stats(&r.Stats)
	}
}

// CreateSuperStream makes a super stream: its partitions, which are streams, and their
// bindings (PROTOCOL.adoc, CreateSuperStream).
type CreateSuperStream struct {
	Name        string
	Partitions  []string   // the streams' names
	BindingKeys []string   // one for each partition
	Arguments   []Property // of each partition, as in Create
}

func (*CreateSuperStream) Key() Key { return KeyCreateSuperStream }

func (r *CreateSuperStream) fields(c codec) {
	c.text("Name", &r.Name)
	c.texts("Partition", &r.Partitions)
	c.texts("BindingKey", &r.BindingKeys)
	c.properties(&r.Arguments)
}

// DeleteSuperStream deletes a super stream and its partitions (PROTOCOL.adoc,
// DeleteSuperStream).
type DeleteSuperStream struct {
	Name string
}

func (*DeleteSuperStream) Key() Key { return KeyDeleteSuperStream }

func (r *DeleteSuperStream) fields(c codec) { c.text("Name", &r.Name) }
