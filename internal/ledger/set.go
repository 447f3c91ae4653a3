package ledger

import "math/bits"

// A page holds one bit for each of pageLen consecutive numbers: 8 KiB.
const (
	pageShift = 16
	pageLen   = 1 << pageShift
	wordBits  = 64
)

type page struct {
	words [pageLen / wordBits]uint64
	n     int // bits set
}

// set is a set of numbers from 0, made for numbers that come in order or nearly
// so: in order it needs one page whatever the numbers, and at worst one bit for
// every number up to the largest.
//
// Pages below floor are full and not stored. A full page at or above floor is
// stored as nil. The zero value is an empty set.
type set struct {
	pages map[uint64]*page
	floor uint64
	len   uint64

	// The page of the latest add, because the next is nearly always on it.
	at    *page
	atKey uint64

	spare *page // an emptied page, so that in-order adds allocate nothing
	limit int   // most pages in memory; 0 for no limit
}

// add puts i into the set. added is false when it was there already; ok is
// false when there is no room for another page.
func (s *set) add(i uint64) (added, ok bool) {
	key := i >> pageShift
	if s.at == nil || key != s.atKey {
		p, full := s.page(key)
		if full {
			return false, true
		}
		if p == nil {
			return false, false
		}
		s.at, s.atKey = p, key
	}
	p := s.at
	word, bit := i%pageLen/wordBits, uint64(1)<<(i%wordBits)
	if p.words[word]&bit != 0 {
		return false, true
	}
	p.words[word] |= bit
	p.n++
	s.len++
	if p.n == pageLen {
		s.retire(key, p)
	}
	return true, true
}

// page returns the page called key, made if it is not there, or says that it is
// full; it returns nil when the set is at its limit.
func (s *set) page(key uint64) (p *page, full bool) {
	if key < s.floor {
		return nil, true
	}
	p, there := s.pages[key]
	if there {
		return p, p == nil
	}
	if s.limit > 0 && len(s.pages) >= s.limit {
		return nil, false
	}
	if p, s.spare = s.spare, nil; p == nil {
		p = new(page)
	}
	if s.pages == nil {
		s.pages = make(map[uint64]*page)
	}
	s.pages[key] = p
	return p, false
}

// retire collapses a page that has become full, and moves the floor past it
// and past full pages that were waiting for it.
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
	key := w / (pageLen / wordBits)
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
		return p.words[w%(pageLen/wordBits)]
	}
}

// common counts the numbers that are in both sets.
func (s *set) common(other *set) uint64 {
	if s.len == 0 || other.len == 0 {
		return 0
	}
	var n uint64
	count := func(key uint64) {
		const words = pageLen / wordBits
		for w := key * words; w < (key+1)*words; w++ {
			n += uint64(bits.OnesCount64(s.word(w) & other.word(w)))
		}
	}
	for key := range s.floor {
		count(key)
	}
	for key := range s.pages {
		count(key)
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
		base := key << pageShift
		switch {
		case base+pageLen <= i:
		case p == nil:
			n += base + pageLen - max(i, base)
		default:
			for j := max(i, base); j < base+pageLen; j++ {
				if p.words[j%pageLen/wordBits]&(1<<(j%wordBits)) != 0 {
					n++
				}
			}
		}
	}
	return n
}
