package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// readWhole reads a record that is one JSON object, run by run, so that a hostile one is
// refused before it has become large.
func readWhole(rd io.Reader) (*Record, error) {
	limited := &io.LimitedReader{R: rd, N: recordMost}
	dec := json.NewDecoder(limited)
	rec, budget := &Record{}, samplesAll
	err := eachKey(dec, func(key string) error {
		switch key {
		case "version":
			return dec.Decode(&rec.Version)
		case "verdict":
			return dec.Decode(&rec.Verdict)
		case "search":
			return dec.Decode(&rec.Search)
		case "runs":
			return eachElement(dec, func() error {
				if len(rec.Runs) == runsMost {
					return errTooMany
				}
				r, err := readRun(dec, &budget)
				rec.Runs = append(rec.Runs, r)
				return err
			})
		}
		return dec.Decode(new(json.RawMessage))
	})
	switch {
	case err != nil && limited.N == 0:
		return nil, fmt.Errorf("it has more than %d bytes", recordMost)
	case err != nil:
		return nil, fmt.Errorf("it is no record of a run: %w", err)
	}
	if err := checkVersion(rec.Version); err != nil {
		return nil, err
	}
	if len(rec.Runs) == 0 {
		return nil, errNoRun
	}
	return rec, nil
}

// readRun reads one run. What it has many of is read one by one.
func readRun(dec *json.Decoder, budget *int) (*Run, error) {
	var raw rawRun
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	r, course := raw.run(), Course{}
	err := eachOf(raw.Samples, func(dec *json.Decoder) error {
		if *budget--; *budget < 0 {
			return errTooMany
		}
		var s Sample
		err := dec.Decode(&s)
		course.Add(s.bounded())
		return err
	})
	if err != nil {
		return nil, err
	}
	r.Samples = course.Samples()
	return r, eachOf(raw.Events, func(dec *json.Decoder) error {
		if len(r.Events) == EventsMost {
			return errTooMany
		}
		var e Event
		err := dec.Decode(&e)
		r.Events = append(r.Events, e)
		return err
	})
}

// rawRun is a run whose samples and events are not read yet: there may be any number.
type rawRun struct {
	Run
	Samples json.RawMessage `json:"samples"` // instead of the run's
	Events  json.RawMessage `json:"events"`
}

// run is the run without its samples and events.
func (raw *rawRun) run() *Run {
	r := raw.Run
	r.LostMessages = bounded(r.LostMessages)
	return &r
}

func (s *Sample) bounded() Sample {
	if s.Broker != nil {
		s.Broker.Alarms = bounded(s.Broker.Alarms)
	}
	return *s
}

// bounded is a list without what is too much of it, and nothing of that in memory.
func bounded(list []string) []string {
	if len(list) <= listMost {
		return list
	}
	return slices.Clone(list[:listMost])
}

// eachKey calls value for each key of an object; value reads what belongs to it.
func eachKey(dec *json.Decoder, value func(key string) error) error {
	if err := expect(dec, json.Delim('{')); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		if err := value(key.(string)); err != nil { //nolint:forcetypeassert // a key is one
			return err
		}
	}
	return expect(dec, json.Delim('}'))
}

// eachElement calls value for each element of a list; value reads it.
func eachElement(dec *json.Decoder, value func() error) error {
	if err := expect(dec, json.Delim('[')); err != nil {
		return err
	}
	for dec.More() {
		if err := value(); err != nil {
			return err
		}
	}
	return expect(dec, json.Delim(']'))
}

// eachOf is eachElement for a list that has been cut out, or null.
func eachOf(text json.RawMessage, value func(dec *json.Decoder) error) error {
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	return eachElement(dec, func() error { return value(dec) })
}

func expect(dec *json.Decoder, want json.Delim) error {
	got, err := dec.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v belongs", got, want)
	}
	return err
}
