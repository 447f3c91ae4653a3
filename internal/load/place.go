package load

import "github.com/thumpmq/thump"

// Place is where messages go to and come from.
type Place struct {
	Kind PlaceKind
	Name string
}

// PlaceKind is a kind of Place.
type PlaceKind uint8

const (
	// Queue is a classic or quorum queue: it hands each message to one consumer,
	// and forgets it.
	Queue PlaceKind = iota
	// Stream is a stream: it keeps its messages, and every consumer reads all of
	// them.
	Stream
	// SuperStream is a super stream: several streams under one name, each message
	// in one of them.
	SuperStream
)

// Streams reports whether the place is a stream or a super stream.
func (p Place) Streams() bool { return p.Kind != Queue }

// target is the place as package thump has it.
func (p Place) target() thump.Target {
	switch p.Kind {
	case Stream:
		return thump.Stream(p.Name)
	case SuperStream:
		return thump.SuperStream(p.Name)
	default:
		return thump.Queue(p.Name)
	}
}
