package streamproto

import "strconv"

// Key identifies a command (PROTOCOL.adoc, Commands). On the wire its highest bit
// marks a response; here that is Frame.Response.
type Key uint16

// The commands. One without a comment is a client's request, and the server answers
// with a response of the same key.
const (
	KeyDeclarePublisher        Key = 1
	KeyPublish                 Key = 2 // client, no answer
	KeyPublishConfirm          Key = 3 // server, no answer
	KeyPublishError            Key = 4 // server, no answer
	KeyQueryPublisherSequence  Key = 5
	KeyDeletePublisher         Key = 6
	KeySubscribe               Key = 7
	KeyDeliver                 Key = 8  // server, no answer
	KeyCredit                  Key = 9  // client; answered only if it failed
	KeyStoreOffset             Key = 10 // client, no answer
	KeyQueryOffset             Key = 11 // RabbitMQ 3.10 answers CodeNoOffset, 3.9 did not
	KeyUnsubscribe             Key = 12
	KeyCreate                  Key = 13
	KeyDelete                  Key = 14
	KeyMetadata                Key = 15
	KeyMetadataUpdate          Key = 16 // server, no answer
	KeyPeerProperties          Key = 17
	KeySASLHandshake           Key = 18
	KeySASLAuthenticate        Key = 19
	KeyTune                    Key = 20 // server, and the client answers
	KeyOpen                    Key = 21
	KeyClose                   Key = 22 // either side
	KeyHeartbeat               Key = 23 // either side, no answer
	KeyRoute                   Key = 24
	KeyPartitions              Key = 25
	KeyConsumerUpdate          Key = 26 // server, and the client answers; RabbitMQ 3.11
	KeyExchangeCommandVersions Key = 27 // RabbitMQ 3.11
	KeyStreamStats             Key = 28 // RabbitMQ 3.11
	KeyCreateSuperStream       Key = 29 // RabbitMQ 3.13
	KeyDeleteSuperStream       Key = 30 // RabbitMQ 3.13
	KeyResolveOffsetSpec       Key = 31 // RabbitMQ 4.3
)

// commands has a row for each command: its name in PROTOCOL.adoc, and what makes the
// structs of its request and of the answer. A request with nil for its answer is
// answered by a Done. A command without a request has functions of its own.
//
//nolint:gochecknoglobals // constant in all but syntax
var commands = [...]struct {
	name     string
	request  func() Request
	response func() Response
}{
	KeyDeclarePublisher:        {"DeclarePublisher", request[DeclarePublisher], nil},
	KeyPublish:                 {"Publish", nil, nil},
	KeyPublishConfirm:          {"PublishConfirm", nil, nil},
	KeyPublishError:            {"PublishError", nil, nil},
	KeyQueryPublisherSequence:  {"QueryPublisherSequence", request[QueryPublisherSequence], response[QueryPublisherSequenceResponse]},
	KeyDeletePublisher:         {"DeletePublisher", request[DeletePublisher], nil},
	KeySubscribe:               {"Subscribe", request[Subscribe], nil},
	KeyDeliver:                 {"Deliver", nil, nil},
	KeyCredit:                  {"Credit", nil, nil},
	KeyStoreOffset:             {"StoreOffset", nil, nil},
	KeyQueryOffset:             {"QueryOffset", request[QueryOffset], response[QueryOffsetResponse]},
	KeyUnsubscribe:             {"Unsubscribe", request[Unsubscribe], nil},
	KeyCreate:                  {"Create", request[Create], nil},
	KeyDelete:                  {"Delete", request[Delete], nil},
	KeyMetadata:                {"Metadata", request[Metadata], response[MetadataResponse]},
	KeyMetadataUpdate:          {"MetadataUpdate", nil, nil},
	KeyPeerProperties:          {"PeerProperties", request[PeerProperties], response[PeerPropertiesResponse]},
	KeySASLHandshake:           {"SaslHandshake", request[SASLHandshake], response[SASLHandshakeResponse]},
	KeySASLAuthenticate:        {"SaslAuthenticate", request[SASLAuthenticate], response[SASLAuthenticateResponse]},
	KeyTune:                    {"Tune", nil, nil},
	KeyOpen:                    {"Open", request[Open], response[OpenResponse]},
	KeyClose:                   {"Close", request[Close], nil},
	KeyHeartbeat:               {"Heartbeat", nil, nil},
	KeyRoute:                   {"Route", request[Route], response[RouteResponse]},
	KeyPartitions:              {"Partitions", request[Partitions], response[PartitionsResponse]},
	KeyConsumerUpdate:          {"ConsumerUpdate", request[ConsumerUpdate], response[ConsumerUpdateResponse]},
	KeyExchangeCommandVersions: {"ExchangeCommandVersions", request[ExchangeCommandVersions], response[ExchangeCommandVersionsResponse]},
	KeyStreamStats:             {"StreamStats", request[StreamStats], response[StreamStatsResponse]},
	KeyCreateSuperStream:       {"CreateSuperStream", request[CreateSuperStream], nil},
	KeyDeleteSuperStream:       {"DeleteSuperStream", request[DeleteSuperStream], nil},
	KeyResolveOffsetSpec:       {"ResolveOffsetSpec", request[ResolveOffsetSpec], response[ResolveOffsetSpecResponse]},
}

// String is the command's name in PROTOCOL.adoc: "DeclarePublisher".
func (k Key) String() string {
	if int(k) < len(commands) && commands[k].name != "" {
		return commands[k].name
	}
	return "command " + strconv.Itoa(int(k))
}
