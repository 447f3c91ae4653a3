"""The tutorial's consumer, with a task in place of its constants, and an end.

It speaks the lines that worker.go describes.
"""

import json
import resource
import sys
import time

import pika


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


task = json.loads(sys.stdin.readline())
auto_ack = not task["safe"]

connection = pika.BlockingConnection(pika.URLParameters(task["url"]))
channel = connection.channel()
if not auto_ack:
    channel.basic_qos(prefetch_count=task["prefetch"])

message_count = 0
end_time = 0


def callback(ch, method, properties, body):
    global message_count, end_time
    message_count += 1
    if body != b'Message %d' % message_count:
        sys.exit(f"delivery {message_count} is {body[:60]!r}")
    if not auto_ack:
        ch.basic_ack(method.delivery_tag)
    if message_count == task["count"]:
        end_time = time.time_ns()
        ch.stop_consuming()


print(json.dumps({"cpu_seconds": cpu_seconds()}), flush=True)
sys.stdin.readline()
start_time = time.time_ns()

channel.basic_consume(queue=task["queue"], on_message_callback=callback, auto_ack=auto_ack)
channel.start_consuming()
connection.close()
print(json.dumps({"started_ns": start_time, "ended_ns": end_time, "count": message_count}))
