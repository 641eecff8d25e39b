# The Python snippets of the public documents on Postgres pods, in their order, as
# they are printed. databases_test.go says what is replaced, and why.

# -- Connect
import psycopg2

db_login = {
    "host": "podId.pods.tacc.tapis.io",
    "port":  443,
    "database": "postgres",
    "user": "podId",
    "password": "autoRandomizedPassword"
}

conn = psycopg2.connect(**db_login)
pg_cursor = conn.cursor()

# -- Get all tables
# get all tables
pg_cursor.execute("select relname from pg_class where relkind='r' and relname !~ '^(pg_|sql_)';")
print(pg_cursor.fetchall())
