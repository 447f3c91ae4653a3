package main

import (
	"fmt"

	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/load"
	"github.com/thumpmq/thump/internal/result"
)

// disk is what a stream will take on the broker's disk, and what is free there
// where that is known.
type disk struct {
	need uint64
	free *uint64
}

// diskFor works out what the messages will take in a stream, and refuses what
// there is no room for where the broker's disk is this machine's: RabbitMQ would
// stop all publishers for want of disk, and not only this stream's.
func diskFor(conn *connection, work load.SendConfig, places *placeFlags) (disk, error) {
	d := disk{need: work.StreamBytes()}
	if places.maxBytes > 0 {
		// One segment over, and one that is being written.
		d.need = min(d.need, uint64(places.maxBytes)+2*places.segmentBytes())
	}
	if conn.node == nil {
		return d, nil
	}
	free, ok := conn.node.DiskFree()
	if !ok {
		return d, nil
	}
	d.free = &free
	if d.need+broker.DiskReserve > free {
		return d, fmt.Errorf("the stream would take about %.1f GB of disk, RabbitMQ needs %.1f GB for itself, and %.1f GB are free in %s: "+
			"a lower --count, or --stream-max-bytes for a stream that keeps less than everything, or THUMP_HOME on a larger disk",
			gigabytes(d.need), gigabytes(broker.DiskReserve), gigabytes(free), conn.node.Dir)
	}
	return d, nil
}

func gigabytes(bytes uint64) float64 { return float64(bytes) / 1e9 }

func (d disk) put(s *result.Settings) { s.DiskBytes, s.DiskFreeBytes = &d.need, d.free }
