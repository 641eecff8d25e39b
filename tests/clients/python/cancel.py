"""Cancels a query the way libpq does since version 17, in TLS.

    cancel.py CONNECTION-STRING

It prints what became of the query.
"""

import sys
import threading

import psycopg

connection = psycopg.connect(sys.argv[1])
ended = threading.Event()


def query():
    try:
        connection.execute("select pg_sleep(3600)")
        print("read nothing that was canceled")
    except psycopg.Error as error:
        print("read", type(error).__name__)
    ended.set()


threading.Thread(target=query, daemon=True).start()
while not ended.wait(0.1):  # a request that comes before the query cancels nothing
    connection.cancel_safe(timeout=30)
