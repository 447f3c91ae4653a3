package record

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/printable"
)

// Parser reads records from lines. It remembers short texts that come again and again, and
// keeps its memory, so that reading many records allocates little. The zero value is ready.
// One goroutine at a time may use it.
type Parser struct {
	s      scanner
	texts  texts
	values int     // headers, and what is in them, of this record
	order  []named // the keys of the last records, by their place: most records have the same
}

// Parse reads the line into r, whatever is in r. What r has then is valid until the line is
// changed or Parse is called again. The error is a *SyntaxError; r is then of no use.
//
// Keys that no record has, and keys that come twice, are errors: what is in them would be
// lost.
func (p *Parser) Parse(line []byte, r *Record) error {
	p.forget()
	return p.parse(line, r)
}

// forget makes the memory of what was parsed so far free for what follows.
func (p *Parser) forget() { p.s.decoded = p.s.decoded[:0] }

// parse is Parse that leaves valid what was parsed since the last forget.
func (p *Parser) parse(line []byte, r *Record) error {
	headers := r.Properties.Headers[:0]
	*r = Record{}
	r.Properties.Headers = headers
	p.s = scanner{line: line, decoded: p.s.decoded}
	p.values = 0
	var seen uint32
	place := 0
	p.s.list('{', '}', func() { p.field(r, &seen, place); place++ })
	p.s.end()
	bodies := seen & (1<<fields[keyBody].number | 1<<fields[keyBodyBase64].number)
	switch {
	case p.s.err != nil:
	case bodies == 0:
		p.s.fail(0, "the record has no %q", keyBody)
	case bodies&(bodies-1) != 0:
		p.s.fail(0, "the record has both %q and %q", keyBody, keyBodyBase64)
	}
	if p.s.err != nil {
		return p.s.err
	}
	return nil
}

// field is how one of the keys of a record is read.
type field struct {
	number int // of its bit in what was seen
	read   func(*Parser, *Record)
}

// named is a field with its key.
type named struct {
	key string
	field
}

// fields are the keys of a record.
//
//nolint:gochecknoglobals // constant in all but syntax
var fields = map[string]field{
	keyStream:          {0, func(p *Parser, r *Record) { r.Stream = p.short() }},
	keyOffset:          {1, func(p *Parser, r *Record) { r.Offset = p.natural(math.MaxUint64) }},
	keyStoredAt:        {2, func(p *Parser, r *Record) { r.StoredAt = p.time() }},
	keyExchange:        {3, func(p *Parser, r *Record) { r.Exchange = p.short() }},
	keyRoutingKey:      {4, func(p *Parser, r *Record) { r.RoutingKey = p.short() }},
	keyRedelivered:     {5, func(p *Parser, r *Record) { r.Redelivered = p.bool() }},
	keyDeliveryCount:   {6, func(p *Parser, r *Record) { r.DeliveryCount = int(p.natural(math.MaxInt)) }},
	keyContentType:     {7, func(p *Parser, r *Record) { r.Properties.ContentType = p.short() }},
	keyContentEncoding: {8, func(p *Parser, r *Record) { r.Properties.ContentEncoding = p.short() }},
	keyHeaders:         {9, func(p *Parser, r *Record) { r.Properties.Headers = p.table(r.Properties.Headers, 0) }},
	keyDeliveryMode:    {10, func(p *Parser, r *Record) { r.Properties.DeliveryMode = uint8(p.natural(math.MaxUint8)) }},
	keyPriority: {11, func(p *Parser, r *Record) {
		n := uint8(p.natural(math.MaxUint8))
		r.Properties.Priority, r.Properties.ZeroPriority = n, n == 0
	}},
	keyCorrelationID: {12, func(p *Parser, r *Record) { r.Properties.CorrelationID = string(p.s.text()) }},
	keyReplyTo:       {13, func(p *Parser, r *Record) { r.Properties.ReplyTo = p.short() }},
	keyExpiration:    {14, func(p *Parser, r *Record) { r.Properties.Expiration = duration(p.natural(math.MaxUint64)) }},
	keyMessageID:     {15, func(p *Parser, r *Record) { r.Properties.MessageID = string(p.s.text()) }},
	keyTimestamp:     {16, func(p *Parser, r *Record) { r.Properties.Timestamp = p.time() }},
	keyType:          {17, func(p *Parser, r *Record) { r.Properties.Type = p.short() }},
	keyUserID:        {18, func(p *Parser, r *Record) { r.Properties.UserID = p.short() }},
	keyAppID:         {19, func(p *Parser, r *Record) { r.Properties.AppID = p.short() }},
	keyFormat:        {20, func(p *Parser, r *Record) { r.Properties.Format = p.format() }},
	keyUnreadable:    {21, func(p *Parser, r *Record) { r.Unreadable = string(p.s.text()) }},
	keySections:      {24, func(p *Parser, r *Record) { r.Sections = p.base64() }},
	keyRawProperties: {25, func(p *Parser, r *Record) { r.RawProperties = p.base64() }},
	keyBody:          {22, func(p *Parser, r *Record) { r.Body = p.s.text() }},
	keyBodyBase64:    {23, func(p *Parser, r *Record) { r.Body = p.base64() }},
}

// field reads a key, which is so many after the first one, and its value.
func (p *Parser) field(r *Record, seen *uint32, place int) {
	p.s.peek()
	start := p.s.at
	key := p.s.text()
	f, known := p.named(key, place)
	switch {
	case p.s.err != nil:
		return
	case !known:
		p.s.fail(start, "no record has a key %q", printable.Text(shortened(key)))
		return
	case *seen&(1<<f.number) != 0:
		p.s.fail(start, "%q comes twice", key)
		return
	}
	*seen |= 1 << f.number
	p.s.expect(':', " after a key")
	f.read(p, r)
}

// named is the field of that name. It looks first at what the place had in the record before.
func (p *Parser) named(key []byte, place int) (f field, known bool) {
	if place < len(p.order) && p.order[place].key == string(key) {
		return p.order[place].field, true
	}
	if f, known = fields[string(key)]; !known || place > len(fields) {
		return f, known
	}
	for place >= len(p.order) {
		p.order = append(p.order, named{})
	}
	p.order[place] = named{p.texts.get(key), f}
	return f, true
}

// shortened is a text of a file as an error shows it.
func shortened(text []byte) string {
	const most = 40
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// short reads a text that probably comes again.
func (p *Parser) short() string { return p.texts.get(p.s.text()) }

// bool reads true or false.
func (p *Parser) bool() bool {
	switch {
	case p.s.word("true"):
		return true
	case !p.s.word("false"):
		p.s.unexpected("true or false")
	}
	return false
}

// integer reads a whole number in a range.
func (p *Parser) integer(least, most int64) int64 {
	start, digits := p.whole()
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if p.s.err == nil && (err != nil || n < least || n > most) {
		p.s.fail(start, "the number is not from %d to %d", least, most)
	}
	return n
}

// natural reads a whole number from 0 on.
func (p *Parser) natural(most uint64) uint64 {
	start, digits := p.whole()
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if p.s.err == nil && (err != nil || n > most) {
		p.s.fail(start, "the number is not from 0 to %d", most)
	}
	return n
}

func (p *Parser) whole() (start int, digits []byte) {
	p.s.peek()
	start = p.s.at
	digits, whole := p.s.number()
	if p.s.err == nil && !whole {
		p.s.fail(start, "the number must be a whole one")
	}
	return start, digits
}

// time reads a time of RFC 3339, or seconds since 1970.
func (p *Parser) time() time.Time {
	if p.s.peek() != '"' {
		return time.Unix(p.integer(math.MinInt64, math.MaxInt64), 0).UTC()
	}
	start := p.s.at
	t, err := time.Parse(time.RFC3339Nano, string(p.s.text()))
	if p.s.err == nil && err != nil {
		p.s.fail(start, "the time is not one like 2026-11-27T10:00:00Z")
	}
	return t.UTC()
}

// format reads what a body is.
func (p *Parser) format() thump.Format {
	start := p.s.at
	word := p.s.text()
	i := slices.Index(formats[:], string(word))
	if p.s.err == nil && i < 0 {
		p.s.fail(start, "there is no format %q", printable.Text(shortened(word)))
	}
	return thump.Format(max(0, i))
}

// base64 reads bytes.
func (p *Parser) base64() []byte {
	p.s.peek()
	start := p.s.at
	text := p.s.text()
	begin := len(p.s.decoded)
	decoded, err := base64.StdEncoding.Strict().AppendDecode(p.s.decoded, text)
	if p.s.err == nil && err != nil {
		p.s.fail(start, "the string is not base64")
	}
	if p.s.err != nil {
		return nil
	}
	p.s.decoded = decoded
	return decoded[begin:len(decoded):len(decoded)]
}

// texts remembers short texts: most of what comes in a file comes again.
type texts map[string]string

const (
	textsMost = 4096 // remembered at a time
	textMost  = 64   // bytes of one that is remembered
)

// get is text as a string.
func (t *texts) get(text []byte) string {
	if known, there := (*t)[string(text)]; there {
		return known
	}
	if len(text) > textMost {
		return string(text)
	}
	if *t == nil || len(*t) >= textsMost {
		*t = make(texts)
	}
	known := string(text)
	(*t)[known] = known
	return known
}
