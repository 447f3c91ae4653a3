package watch

import (
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// usage is what this process has used until a moment.
type usage struct {
	at     time.Time
	load   load.Usage
	known  bool
	memory uint64
	pauses time.Duration // of the garbage collector, all of them
}

func readUsage() usage {
	u := usage{at: time.Now()}
	u.load, u.known = load.ReadUsage()
	u.memory = memory()
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	u.pauses = gc.PauseTotal
	return u
}

// memory is how much this process has of the machine's, as Go's runtime counts.
func memory() uint64 {
	read := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(read)
	for _, m := range read {
		if m.Value.Kind() != metrics.KindUint64 {
			return 0
		}
	}
	return read[0].Value.Uint64() - read[1].Value.Uint64()
}

// since is what was used since before.
func (u usage) since(before usage) result.ClientSample {
	s := result.ClientSample{GCPauseSeconds: new((u.pauses - before.pauses).Seconds())}
	if elapsed := u.at.Sub(before.at); u.known && before.known && elapsed > 0 {
		s.CPU = new((u.load.CPU - before.load.CPU).Seconds() / elapsed.Seconds())
	}
	if u.memory > 0 {
		s.MemoryBytes = &u.memory
	}
	return s
}

// total is what was used from u until now.
func (u usage) total() (cpuSeconds *float64, peakBytes *uint64) {
	now := readUsage()
	if !u.known || !now.known {
		return nil, nil
	}
	if peak := now.load.PeakRSSBytes; peak > 0 {
		peakBytes = &peak
	}
	return new((now.load.CPU - u.load.CPU).Seconds()), peakBytes
}
