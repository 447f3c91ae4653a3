package record

// The keys of a record.
const (
	keyStream          = "stream"
	keyOffset          = "offset"
	keyStoredAt        = "stored_at"
	keyExchange        = "exchange"
	keyRoutingKey      = "routing_key"
	keyRedelivered     = "redelivered"
	keyDeliveryCount   = "delivery_count"
	keyContentType     = "content_type"
	keyContentEncoding = "content_encoding"
	keyHeaders         = "headers"
	keyDeliveryMode    = "delivery_mode"
	keyPriority        = "priority"
	keyCorrelationID   = "correlation_id"
	keyReplyTo         = "reply_to"
	keyExpiration      = "expiration"
	keyMessageID       = "message_id"
	keyTimestamp       = "timestamp"
	keyType            = "type"
	keyUserID          = "user_id"
	keyAppID           = "app_id"
	keyFormat          = "format"
	keySections        = "amqp10"
	keyUnreadable      = "unreadable"
	keyRawProperties   = "raw_properties"
	keyBody            = "body"
	keyBodyBase64      = "body_base64"
)

// formats has the word of each thump.Format.
//
//nolint:gochecknoglobals // constant in all but syntax
var formats = [...]string{"data", "string", "binary", "value", "sequence", "raw", "batch"}

// The words for the types that a header's value may have. JSON's own types stand for the
// others: true and false, a number without a point for int64, one with a point or an
// exponent for float64, a string, an array, an object and null.
const (
	typeInt8      = "int8"
	typeInt16     = "int16"
	typeInt32     = "int32"
	typeUint8     = "uint8"
	typeUint16    = "uint16"
	typeUint32    = "uint32"
	typeFloat     = "float"  // 32 bits
	typeDouble    = "double" // 64 bits, where JSON has no number for it
	typeDecimal   = "decimal"
	typeTimestamp = "timestamp"
	typeBytes     = "bytes"
	typeTable     = "table" // where an object would be taken for one of these
)

// isType reports whether a key is one of those words.
func isType[T string | []byte](key T) bool {
	switch string(key) {
	case typeInt8, typeInt16, typeInt32, typeUint8, typeUint16, typeUint32, typeFloat, typeDouble,
		typeDecimal, typeTimestamp, typeBytes, typeTable:
		return true
	default:
		return false
	}
}
