package amqpconn

// believed is how many bytes of a body get memory because they were announced. Beyond
// it, memory follows the bytes that really come.
const believed = 1 << 20

// body is the body of a content whose frames come one by one. Where it is large it is
// kept in pieces until half of it is there, each as large as all before it, and then
// gets the memory that was announced, once: so it never takes more than half of its size
// beside that, and nothing is copied to let it grow.
type body struct {
	size   int // announced
	have   int // of the pieces
	pieces [][]byte
	whole  []byte // nil while there are pieces
}

func newBody(size int) body {
	if size <= believed {
		return body{size: size, whole: make([]byte, 0, size)}
	}
	return body{size: size}
}

// left is how many bytes have not come.
func (b *body) left() int { return b.size - b.have - len(b.whole) }

// add takes the next bytes, no more than are left.
func (b *body) add(bytes []byte) {
	for b.whole == nil {
		if len(bytes) == 0 {
			return
		}
		bytes = bytes[b.addPiece(bytes):]
		if b.have == b.size/2 {
			b.join()
		}
	}
	b.whole = append(b.whole, bytes...)
}

// addPiece takes what there is room for in the last piece, or in a new one.
func (b *body) addPiece(bytes []byte) (n int) {
	last := len(b.pieces) - 1
	if last < 0 || len(b.pieces[last]) == cap(b.pieces[last]) {
		b.pieces = append(b.pieces, make([]byte, 0, min(max(b.have, believed/2), b.size/2-b.have)))
		last++
	}
	piece := &b.pieces[last]
	n = min(len(bytes), cap(*piece)-len(*piece))
	*piece = append(*piece, bytes[:n]...)
	b.have += n
	return n
}

// join gives the body all its memory.
func (b *body) join() {
	b.whole = make([]byte, 0, b.size)
	for _, piece := range b.pieces {
		b.whole = append(b.whole, piece...)
	}
	b.have, b.pieces = 0, nil
}
