#!/usr/bin/env python3
"""Says how long messages took on the wire, from a capture of tcpdump.

It is the third party where two load tools disagree about the latency of the same broker: it
knows nothing of either's clock, threads and buffers. For each message it takes the time of the
packet that ends its basic.publish, and of the one that ends its basic.deliver.

    tcpdump -i lo -B 65536 -w FILE tcp port 5672        while one tool works
    wire.py FILE 5672 --rate 1000 --skip 3

Bodies must differ from each other. With --perf-test it also reads the time that PerfTest puts
into them (System.nanoTime), by how far the machine's clock was ahead of that:

    python3 -c 'import time; print(time.time() - time.monotonic())'
"""
import argparse
import struct

FRAME_METHOD, FRAME_HEADER, FRAME_BODY = 1, 2, 3
BASIC_PUBLISH, BASIC_DELIVER = (60, 40), (60, 60)
PROTOCOL = b"AMQP\x00\x00\x09\x01"


class Direction:
    """One direction of one connection: its bytes, and the frames in them."""

    def __init__(self):
        self.next = None  # sequence number
        self.data = b""
        self.left = 0  # of the body of the content that is coming
        self.body = b""
        self.method = None

    def add(self, sequence, payload):
        if self.next is None:
            self.next = sequence
        behind = (self.next - sequence) & 0xFFFFFFFF
        if 0 < behind < 1 << 31:
            payload = payload[behind:]  # sent again
        elif behind:
            raise SystemExit("the capture lacks packets: give tcpdump a larger buffer (-B)")
        self.next = (self.next + len(payload)) & 0xFFFFFFFF
        self.data += payload

    def contents(self):
        """The (method, body) of what is complete now."""
        if self.data.startswith(PROTOCOL):
            self.data = self.data[len(PROTOCOL):]
        at = 0
        while len(self.data) - at >= 8:
            kind, _, size = struct.unpack_from(">BHI", self.data, at)
            if len(self.data) - at < size + 8:
                break
            payload = self.data[at + 7:at + 7 + size]
            at += size + 8
            if kind == FRAME_METHOD:
                self.method = struct.unpack_from(">HH", payload)
            elif kind == FRAME_HEADER:
                self.left, self.body = struct.unpack_from(">Q", payload, 4)[0], b""
            elif kind == FRAME_BODY:
                self.body += payload
                if len(self.body) == self.left:
                    yield self.method, self.body
        self.data = self.data[at:]


def packets(name):
    """The (time, source port, destination port, sequence number, payload) of a capture's TCP packets."""
    with open(name, "rb") as capture:
        head = capture.read(24)
        order = "<" if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        unit = 1e-9 if head[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
        while len(record := capture.read(16)) == 16:
            seconds, fraction, size, _ = struct.unpack(order + "IIII", record)
            packet = capture.read(size)[14:]  # without Ethernet's header, which lo has too
            if packet[0] >> 4 == 6:
                packet = packet[40:]
            else:
                packet = packet[(packet[0] & 15) * 4:struct.unpack_from(">H", packet, 2)[0]]
            source, destination, sequence = struct.unpack_from(">HHI", packet)
            payload = packet[(packet[12] >> 4) * 4:]
            if payload:
                yield seconds + fraction * unit, source, destination, sequence, payload


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def say(what, seconds):
    at = " ".join(f"p{p} {percentile(seconds, p) * 1e6:.0f}" for p in (50, 90, 99))
    print(f"{what:52} {at} µs")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("capture")
    options.add_argument("port", type=int, help="the broker's")
    options.add_argument("--rate", type=float, required=True, help="messages a second that were asked for")
    options.add_argument("--skip", type=float, default=0, help="seconds at the begin that do not count")
    options.add_argument("--perf-test", type=float, metavar="SECONDS", help="bodies have PerfTest's time")
    asked = options.parse_args()
    directions, published, took, packet_of = {}, {}, {}, []
    number = 0
    for at, source, destination, sequence, payload in packets(asked.capture):
        direction = directions.setdefault((source, destination), Direction())
        direction.add(sequence, payload)
        number += 1
        for method, body in direction.contents():
            if destination == asked.port and method == BASIC_PUBLISH:
                published.setdefault(body, at)
                packet_of.append((at, number))
            elif source == asked.port and method == BASIC_DELIVER and body in published:
                took.setdefault(body, at - published[body])
    begin = min(published.values()) + asked.skip
    times = {body: at for body, at in published.items() if at >= begin}
    counted = [at for at, _ in packet_of if at >= begin]
    bursts = {}
    for at, n in packet_of:
        if at >= begin:
            bursts[n] = bursts.get(n, 0) + 1
    gaps = [b - a for a, b in zip(counted, counted[1:])]
    print(f"{len(counted)} messages, {(len(counted) - 1) / (counted[-1] - counted[0]):.1f} a second, {len(took)} delivered; "
          f"{len(counted) / len(bursts):.2f} in a packet, at most {max(bursts.values())}; "
          f"{100 * sum(g < 0.2 / asked.rate for g in gaps) / len(gaps):.0f} % follow the one before within a fifth of 1/rate")
    say("from publish to delivery, on the wire", [took[b] for b in times if b in took])
    shift = min(at - i / asked.rate for i, at in enumerate(counted))
    say("from an even schedule to publish", [at - i / asked.rate - shift for i, at in enumerate(counted)])
    if asked.perf_test:
        stamp = {b: struct.unpack_from(">q", b, 4)[0] * 1e-9 + asked.perf_test for b in times}
        say("from PerfTest's own time to publish", [times[b] - stamp[b] for b in times])
        say("from PerfTest's own time to delivery", [times[b] - stamp[b] + took[b] for b in times if b in took])


main()
