// Package amqp10 is the codec of AMQP 1.0 values and of the sections that a
// message is made of: bytes in, values out, and back. It opens no socket, starts
// no goroutine and looks at no clock. It knows nothing of what carries a message:
// a stream holds messages in this encoding, and so do the transfers of AMQP 1.0.
//
// Its sources are OASIS AMQP Version 1.0, part 1 (Types: 1.4 composite types, 1.6
// primitive types) and part 3 (Messaging: 3.2 message format), and what RabbitMQ
// 3.10 to 4.3 write (rabbit_msg_record.erl before 3.13, mc_amqp.erl and
// mc_amqpl.erl since).
//
// A message is a series of sections, each a descriptor and a value. Most messages
// have only a data section, around the body:
//
//	+--------+-------------+------------+-------------+------+--------+
//	| header |   message   | properties | application | body | footer |
//	|        | annotations |            | properties  |      |        |
//	+--------+-------------+------------+-------------+------+--------+
//	   list        map          list          map
//
//	header                   durable, priority, time to live
//	message annotations      for brokers: "x-exchange", "x-routing-key", ...
//	properties               message id, reply to, content type, ...
//	application properties   the application's own
//	body                     data, or AMQP 1.0 values
//
// Data and AppendData are for those that have only a body; they are fast, and allocate
// only to grow dst. The body that Data returns aliases the message. ParseMessage and
// AppendMessage are for all messages. ParseMessage returns copies, except for the body. All functions may be
// called from several goroutines at once, as long as they do not share what they are
// given.
//
// No input makes a Parse function panic, or allocate more than a small multiple of its
// size. ParseMessage followed by AppendMessage gives the message in its shortest
// encoding, without what Message has no field for; after one such pass the bytes no
// longer change.
package amqp10
