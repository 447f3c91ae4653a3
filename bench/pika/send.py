"""The tutorial's producer, with a task in place of its constants.

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
message_count = task["count"]
queue = task["queue"]

connection = pika.BlockingConnection(pika.URLParameters(task["url"]))
channel = connection.channel()
properties = None
if task["safe"]:
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2)

print(json.dumps({"cpu_seconds": cpu_seconds()}), flush=True)
sys.stdin.readline()
start_time = time.time_ns()

for i in range(message_count):
    channel.basic_publish(exchange='', routing_key=queue, body=f'Message {i+1}', properties=properties)

channel.close()
end_time = time.time_ns()
connection.close()
print(json.dumps({"started_ns": start_time, "ended_ns": end_time, "count": message_count}))
