# The tutorial's programs connect to localhost with pika's defaults. Python runs
# this file before them, with the test's PYTHONPATH, so that the defaults are the
# test's broker: the programs themselves stay as they are.
import os

import pika
from pika.connection import Parameters

url = pika.URLParameters(os.environ["THUMP_URL"])
Parameters.DEFAULT_PORT = url.port
Parameters.DEFAULT_CREDENTIALS = url.credentials
Parameters.DEFAULT_VIRTUAL_HOST = url.virtual_host
