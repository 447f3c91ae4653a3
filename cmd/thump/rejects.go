package main

import (
	"cmp"
	"fmt"
	"os"
	"sync"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/record"
)

// rejects is the file of messages that the broker did not take. Until their outcome is known
// it holds all that were sent, as records. A nil one does nothing. It is safe for concurrent
// use.
type rejects struct {
	mu     sync.Mutex
	file   *os.File
	held   map[uint64][]byte // by Ref
	spare  [][]byte          // memory of those that were let go
	err    error             // why one could not be written
	writes []byte
}

// openRejects opens a file to add to. What was in it stays.
func openRejects(name string) (*rejects, error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, modeNew)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	return &rejects{file: file, held: make(map[uint64][]byte)}, nil
}

// add holds a message that is about to be sent, to that exchange and with that key where it
// has none of its own.
func (r *rejects) add(rec *record.Record, ref uint64, to *destination) {
	if r == nil {
		return
	}
	sent := *rec
	sent.Exchange, sent.RoutingKey = cmp.Or(rec.Exchange, to.exchange), cmp.Or(rec.RoutingKey, to.routingKey)
	r.mu.Lock()
	defer r.mu.Unlock()
	var line []byte
	if last := len(r.spare) - 1; last >= 0 {
		line, r.spare = r.spare[last], r.spare[:last]
	}
	r.held[ref] = record.Append(line[:0], &sent)
}

// drop forgets a message that was not sent.
func (r *rejects) drop(ref uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, ref)
}

// outcomes writes what the broker did not take, and lets go of the rest.
func (r *rejects) outcomes(outcomes []thump.Outcome) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = r.writes[:0]
	for i := range outcomes {
		line := r.held[outcomes[i].Ref]
		if status := outcomes[i].Status; status == thump.Rejected || status == thump.Returned {
			r.writes = append(r.writes, line...)
		}
		delete(r.held, outcomes[i].Ref)
		r.spare = append(r.spare, line)
	}
	if _, err := r.file.Write(r.writes); err != nil && r.err == nil {
		r.err = fmt.Errorf("--rejects: %s: %w", r.file.Name(), cause(err))
	}
}

// failure is why a message could not be written.
func (r *rejects) failure() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// close closes the file once the disk has it.
func (r *rejects) close() error {
	if r == nil {
		return nil
	}
	err := r.failure()
	if synced := syncFile(r.file); err == nil && synced != nil {
		err = fmt.Errorf("--rejects: %s: %w", r.file.Name(), cause(synced))
	}
	if closed := r.file.Close(); err == nil && closed != nil {
		err = fmt.Errorf("--rejects: %s: %w", r.file.Name(), cause(closed))
	}
	return err
}

// syncFile waits until the disk has a file. A pipe or device has nothing to wait for.
func syncFile(file *os.File) error {
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return file.Sync()
}
