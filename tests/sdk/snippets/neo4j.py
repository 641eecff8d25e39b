# The Python snippets of the public documents on Neo4j pods, in their order, as
# they are printed. databases_test.go says what is replaced, and why.

# -- Connect
from neo4j import GraphDatabase

url = "bolt+s://podId.pods.tacc.tapis.io:443"
user = "podId"
passw = "autoRandomizedPassword"

neo = GraphDatabase.driver(url,
                            auth = (user, passw),
                            max_connection_lifetime=30)

# -- Count nodes
with neo.session() as session:
    result = session.run("MATCH (n) RETURN n")
    for record in result:
        print(f"Number of nodes in the database: {record}")
