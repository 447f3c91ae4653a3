package streamproto

import "strconv"

// Key says which command a frame is (PROTOCOL.adoc, Commands). On the wire its
// highest bit says whether the frame is a response; here that is Frame.Response.
type Key uint16

// The commands. Who sends what: a command that has no comment is a client's
// request, and the server answers with a response of the same key.
const (
	KeyDeclarePublisher        Key = 1
	KeyPublish                 Key = 2 // client, no answer
	KeyPublishConfirm          Key = 3 // server, no answer
	KeyPublishError            Key = 4 // server, no answer
	KeyQueryPublisherSequence  Key = 5
	KeyDeletePublisher         Key = 6
	KeySubscribe               Key = 7
	KeyDeliver                 Key = 8  // server, no answer
	KeyCredit                  Key = 9  // client; answered only where it failed
	KeyStoreOffset             Key = 10 // client, no answer
	KeyQueryOffset             Key = 11 // RabbitMQ 3.10 says CodeNoOffset, 3.9 did not
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

// keyNames are the names of PROTOCOL.adoc, each at its key.
//
//nolint:gochecknoglobals // constant in all but syntax
var keyNames = [...]string{
	KeyDeclarePublisher:        "DeclarePublisher",
	KeyPublish:                 "Publish",
	KeyPublishConfirm:          "PublishConfirm",
	KeyPublishError:            "PublishError",
	KeyQueryPublisherSequence:  "QueryPublisherSequence",
	KeyDeletePublisher:         "DeletePublisher",
	KeySubscribe:               "Subscribe",
	KeyDeliver:                 "Deliver",
	KeyCredit:                  "Credit",
	KeyStoreOffset:             "StoreOffset",
	KeyQueryOffset:             "QueryOffset",
	KeyUnsubscribe:             "Unsubscribe",
	KeyCreate:                  "Create",
	KeyDelete:                  "Delete",
	KeyMetadata:                "Metadata",
	KeyMetadataUpdate:          "MetadataUpdate",
	KeyPeerProperties:          "PeerProperties",
	KeySASLHandshake:           "SaslHandshake",
	KeySASLAuthenticate:        "SaslAuthenticate",
	KeyTune:                    "Tune",
	KeyOpen:                    "Open",
	KeyClose:                   "Close",
	KeyHeartbeat:               "Heartbeat",
	KeyRoute:                   "Route",
	KeyPartitions:              "Partitions",
	KeyConsumerUpdate:          "ConsumerUpdate",
	KeyExchangeCommandVersions: "ExchangeCommandVersions",
	KeyStreamStats:             "StreamStats",
	KeyCreateSuperStream:       "CreateSuperStream",
	KeyDeleteSuperStream:       "DeleteSuperStream",
	KeyResolveOffsetSpec:       "ResolveOffsetSpec",
}

// String is the command's name in PROTOCOL.adoc: "DeclarePublisher".
func (k Key) String() string {
	if int(k) < len(keyNames) && keyNames[k] != "" {
		return keyNames[k]
	}
	return "command " + strconv.Itoa(int(k))
}
