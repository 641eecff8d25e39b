// Package clients connects real client programs to real servers, through a real
// edge, on one port: the table of docs/clients.md is what it runs.
//
// Each row names a client and how it connects. The test puts its own port, user
// and certificates into that, runs it, and compares what the client read with what
// it wrote. A row that no test runs, or a test without a row, fails.
//
// Clients find the pods by name in an /etc/hosts of their own, in a mount
// namespace: that needs root, or user namespaces. Those in Python, JavaScript and
// Go are in the folders python, node and gopher, with the versions that are tried.
//
// Servers and clients that take long to fetch, such as Neo4j, are left to `make
// clients`; `make test` runs the other rows.
package clients
