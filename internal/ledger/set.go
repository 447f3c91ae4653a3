package ledger

import "math/bits"

// A page holds one bit for each of pageLen consecutive numbers: 8 KiB.
const (
	pageShift = 16
	pageLen   = 1 << pageShift
	wordBits  = 64
	pageWords = pageLen / wordBits
)

type page struct {
	words [pageWords]uint64
	n     int // bits set
}

// set is a set of numbers from 0, made for numbers that come more or less in
// order: in order it needs one page, however many they are, and at worst one bit
// for every number up to the largest.
//
// Pages below floor are full and not stored. A full page at or above floor is
// stored as nil. The zero value is an empty set.
type set struct {
	pages map[uint64]*page
	floor uint64
	len   uint64

	// The page of the latest add: the next number is nearly always on it.
	at    *page
	atKey uint64

	spare *page // an emptied page, so that in-order adds allocate nothing

	// repeated are the numbers of the latest addRange that were there before it.
	repeated []Range
	limit    int // the most pages in memory; 0 for no limit
}

// add puts i into the set. added is false if it was there already; ok is false
// if there is no room for another page.
func (s *set) add(i uint64) (added, ok bool) {
	p, ok := s.at, true
	if key := i >> pageShift; p == nil || key != s.atKey {
		p, ok = s.openPage(key)
	}
	if p == nil {
		return false, ok
	}
	word, bit := i%pageLen/wordBits, uint64(1)<<(i%wordBits)
	if p.words[word]&bit != 0 {
		return false, true
	}
	p.words[word] |= bit
	s.count(p, 1)
	return true, true
}

// fresh is what an addRange has added: n numbers, and the least and the greatest
// of them if n is not 0.
type fresh struct {
	n, first, last uint64
}

// addRange puts first to last into the set and returns those that were not there
// before; the others are in repeated. ok is false if there was no room for all; some may
// have been added.
func (s *set) addRange(first, last uint64) (f fresh, ok bool) {
	s.repeated = s.repeated[:0]
	if first == last {
		added, ok := s.add(first)
		if added {
			f = fresh{n: 1, first: first, last: first}
		} else if ok {
			s.repeated = append(s.repeated, Range{first, first})
		}
		return f, ok
	}
	for w := first / wordBits; w <= last/wordBits; w++ {
		p, ok := s.at, true
		if key := w / pageWords; p == nil || key != s.atKey {
			p, ok = s.openPage(key)
		}
		if !ok {
			return f, false
		}
		if p == nil {
			from := w * wordBits
			w |= pageWords - 1 // full, on to the next page
			s.repeat(max(first, from), min(last, w*wordBits+wordBits-1))
			continue
		}
		mask := ^uint64(0)
		if w == first/wordBits {
			mask <<= first % wordBits
		}
		if w == last/wordBits {
			mask &= ^uint64(0) >> (wordBits - 1 - last%wordBits)
		}
		if there := mask & p.words[w%pageWords]; there != 0 {
			s.repeatBits(w*wordBits, there)
			mask &^= there
		}
		if mask == 0 {
			continue
		}
		p.words[w%pageWords] |= mask
		if f.n == 0 {
			f.first = w*wordBits + uint64(bits.TrailingZeros64(mask))
		}
		f.last = w*wordBits + uint64(bits.Len64(mask)) - 1
		n := bits.OnesCount64(mask)
		f.n += uint64(n)
		s.count(p, n)
	}
	return f, true
}

// repeat notes that first to last were there.
func (s *set) repeat(first, last uint64) {
	if n := len(s.repeated); n > 0 && s.repeated[n-1].Last+1 == first {
		s.repeated[n-1].Last = last
		return
	}
	s.repeated = append(s.repeated, Range{first, last})
}

// repeatBits notes that the numbers were there that are set in there, from base on.
func (s *set) repeatBits(base, there uint64) {
	for there != 0 {
		from := bits.TrailingZeros64(there)
		n := bits.TrailingZeros64(^(there >> from))
		s.repeat(base+uint64(from), base+uint64(from+n-1))
		there &^= (1<<n - 1) << from
	}
}

// clone returns a set of the same numbers.
func (s *set) clone() set {
	c := set{floor: s.floor, len: s.len, limit: s.limit, pages: make(map[uint64]*page, len(s.pages))}
	for key, p := range s.pages {
		if p != nil {
			p = new(*p)
		}
		c.pages[key] = p
	}
	return c
}

// openPage makes the page called key the latest and returns it, or nil if it is
// full. It makes a page that is not there; ok is false if there is no room for it.
func (s *set) openPage(key uint64) (p *page, ok bool) {
	if key < s.floor {
		return nil, true
	}
	p, there := s.pages[key]
	switch {
	case there && p == nil:
		return nil, true
	case !there && s.limit > 0 && len(s.pages) >= s.limit:
		return nil, false
	case !there:
		if p, s.spare = s.spare, nil; p == nil {
			p = new(page)
		}
		if s.pages == nil {
			s.pages = make(map[uint64]*page)
		}
		s.pages[key] = p
	}
	s.at, s.atKey = p, key
	return p, true
}

// count counts n numbers that were set on p, which is the latest page.
func (s *set) count(p *page, n int) {
	s.len += uint64(n)
	if p.n += n; p.n == pageLen {
		s.retire(s.atKey, p)
	}
}

// retire drops the words of a page that has become full. If nothing below it is
// missing, it moves the floor past it and past the full pages that follow.
func (s *set) retire(key uint64, p *page) {
	s.at = nil
	*p = page{}
	s.spare = p
	s.pages[key] = nil
	for {
		p, there := s.pages[s.floor]
		if !there || p != nil {
			return
		}
		delete(s.pages, s.floor)
		s.floor++
	}
}

// has reports whether i is in the set.
func (s *set) has(i uint64) bool {
	key := i >> pageShift
	if key < s.floor {
		return true
	}
	p, there := s.pages[key]
	if !there {
		return false
	}
	return p == nil || p.words[i%pageLen/wordBits]&(1<<(i%wordBits)) != 0
}

// word returns the bits of the numbers 64w to 64w+63.
func (s *set) word(w uint64) uint64 {
	const all = ^uint64(0)
	key := w / pageWords
	if key < s.floor {
		return all
	}
	p, there := s.pages[key]
	switch {
	case !there:
		return 0
	case p == nil:
		return all
	default:
		return p.words[w%pageWords]
	}
}

// common counts the numbers that are in both sets.
func (s *set) common(other *set) uint64 {
	if s.floor > other.floor {
		s, other = other, s
	}
	// Below the lower floor both are full. From there on, only what s has stored
	// can be in both.
	n := s.floor << pageShift
	for key, p := range s.pages {
		q, there := other.pages[key]
		switch {
		case key < other.floor || there && q == nil:
			n += p.count(0)
		case !there:
		case p == nil:
			n += q.count(0)
		default:
			for w, word := range p.words {
				n += uint64(bits.OnesCount64(word & q.words[w]))
			}
		}
	}
	return n
}

// from counts the numbers of the set that are i or more.
func (s *set) from(i uint64) uint64 {
	var n uint64
	if floor := s.floor << pageShift; i < floor {
		n = floor - i
	}
	for key, p := range s.pages {
		switch base := key << pageShift; {
		case i <= base:
			n += p.count(0)
		case i-base < pageLen:
			n += p.count(i - base)
		}
	}
	return n
}

// count counts the numbers of a page from its number i on. A nil page is full.
func (p *page) count(i uint64) uint64 {
	if p == nil {
		return pageLen - i
	}
	if i == 0 {
		return uint64(p.n)
	}
	n := uint64(bits.OnesCount64(p.words[i/wordBits] >> (i % wordBits)))
	for _, word := range p.words[i/wordBits+1:] {
		n += uint64(bits.OnesCount64(word))
	}
	return n
}
