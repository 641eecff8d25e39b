"""The Python clients of the client matrix.

    client.py LIBRARY EXPRESSION WORD

EXPRESSION is the one of docs/clients.md that connects. Each client writes the
word, reads it back and prints what it is and what it read.
"""

import asyncio
import importlib
import sys
from importlib.metadata import version


def through_postgres(connection, word):
    with connection, connection.cursor() as cursor:
        cursor.execute("insert into seen values (%s)", [word])
        cursor.execute("select word from seen where word = %s", [word])
        return cursor.fetchone()[0]


def through_psycopg(connect, word):
    import psycopg

    return f"psycopg {version('psycopg')}, libpq {psycopg.pq.version() // 10000}", through_postgres(connect(), word)


def through_psycopg2(connect, word):
    import psycopg2

    return (
        f"psycopg2-binary {version('psycopg2-binary')}, libpq {psycopg2.__libpq_version__ // 10000}",
        through_postgres(connect(), word),
    )


def through_redis(connect, word):
    with connect() as client:
        client.set(word, word)
        return f"redis {version('redis')}", client.get(word).decode()


def through_mongo(connect, word):
    with connect() as client:
        client.test.seen.insert_one({"word": word})
        return f"pymongo {version('pymongo')}", client.test.seen.find_one({"word": word})["word"]


def through_bolt(connect, word):
    with connect() as driver:
        driver.execute_query("create (:Seen {word: $word})", word=word)
        records, _, _ = driver.execute_query("match (s:Seen {word: $word}) return s.word as word", word=word)
        return f"neo4j {version('neo4j')}", records[0]["word"]


def through_websocket(connect, word):
    async def talk():
        async with connect() as socket:
            await socket.send(word)
            return await socket.recv()

    return f"websockets {version('websockets')}", asyncio.run(talk())


CLIENTS = {
    "psycopg": through_psycopg,
    "psycopg2": through_psycopg2,
    "redis": through_redis,
    "pymongo": through_mongo,
    "neo4j": through_bolt,
    "websockets": through_websocket,
}

library, expression, word = sys.argv[1:]
names = {library: importlib.import_module(library)}
tried, read = CLIENTS[library](lambda: eval(expression, names), word)
print("tried", tried)
print("read", read)
