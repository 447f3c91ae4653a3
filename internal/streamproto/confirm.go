package streamproto

import "encoding/binary"

// IDs are the publishing ids of a PublishConfirm, read in place. It aliases the
// frame's bytes and is valid as long as they are.
type IDs struct {
	b []byte
}

// Len is the number of ids.
func (ids IDs) Len() int { return len(ids.b) / idSize }

// At is the i-th id, 0 <= i < Len().
func (ids IDs) At(i int) uint64 { return binary.BigEndian.Uint64(ids.b[i*idSize:]) }

// PublishErrors are the publishing ids of a PublishError, each with its code, read in
// place. It aliases the frame's bytes and is valid as long as they are.
type PublishErrors struct {
	b []byte
}

const publishErrorSize = idSize + 2

// Len is the number of ids.
func (errs PublishErrors) Len() int { return len(errs.b) / publishErrorSize }

// At is the i-th id and its code, 0 <= i < Len(). RabbitMQ gives all ids of a frame
// the same code.
func (errs PublishErrors) At(i int) (id uint64, code Code) {
	e := errs.b[i*publishErrorSize:]
	return binary.BigEndian.Uint64(e), Code(binary.BigEndian.Uint16(e[idSize:]))
}

// ParsePublishConfirm reads the confirmed ids (PROTOCOL.adoc, PublishConfirm). They
// are in no particular order; a batch has one id. It allocates nothing. The errors
// are *UnexpectedFrameError and those of package wire.
func ParsePublishConfirm(f Frame) (publisherID uint8, ids IDs, err error) {
	publisherID, b, err := parseIDs(&f, KeyPublishConfirm, idSize)
	return publisherID, IDs{b}, err
}

// ParsePublishError reads the refused ids (PROTOCOL.adoc, PublishError). It allocates
// nothing. The errors are *UnexpectedFrameError and those of package wire.
func ParsePublishError(f Frame) (publisherID uint8, errs PublishErrors, err error) {
	publisherID, b, err := parseIDs(&f, KeyPublishError, publishErrorSize)
	return publisherID, PublishErrors{b}, err
}

// parseIDs reads a publisher id and an array whose elements have that size. It
// returns the array's bytes. The array must end with the frame.
func parseIDs(f *Frame, key Key, size int) (publisherID uint8, b []byte, err error) {
	if err := expect(f, key, false); err != nil {
		return 0, nil, err
	}
	if len(f.Body) >= 5 && uint64(binary.BigEndian.Uint32(f.Body[1:]))*uint64(size) == uint64(len(f.Body)-5) {
		return f.Body[0], f.Body[5:], nil
	}
	r := newReader(f.Body)
	r.U8()
	r.Bytes(r.count(size) * size)
	return 0, nil, r.finish(f)
}

// AppendPublishConfirm appends a frame that confirms ids. Brokers send it.
func AppendPublishConfirm(dst []byte, publisherID uint8, ids ...uint64) []byte {
	b := append(beginFrame(dst, uint16(KeyPublishConfirm), 1), publisherID)
	b = binary.BigEndian.AppendUint32(b, uint32(len(ids)))
	for _, id := range ids {
		b = binary.BigEndian.AppendUint64(b, id)
	}
	return endFrame(b, len(dst))
}

// AppendPublishError appends a frame that refuses ids, all with the same code.
// Brokers send it.
func AppendPublishError(dst []byte, publisherID uint8, code Code, ids ...uint64) []byte {
	b := append(beginFrame(dst, uint16(KeyPublishError), 1), publisherID)
	b = binary.BigEndian.AppendUint32(b, uint32(len(ids)))
	for _, id := range ids {
		b = binary.BigEndian.AppendUint64(b, id)
		b = binary.BigEndian.AppendUint16(b, uint16(code))
	}
	return endFrame(b, len(dst))
}
