// Package sni is the wire code of the edge: it turns one listening socket into
// TLS connections for an HTTP server and sessions for TCP routes. It knows
// routes and nothing of the server it is built into.
//
// A connection passes these steps:
//
//  1. [Shared] accepts it on a socket that outlives configurations.
//  2. [Preface] makes it a [Conn], which reads what may come ahead of TLS: a
//     PROXY header of a trusted load balancer, PostgreSQL's requests to switch
//     to TLS. Bytes of a TLS handshake pass untouched.
//  3. tls.NewListener wraps it.
//  4. [Demux] runs the handshake under a deadline and looks up the server name.
//     Connections for HTTP leave through [Demux.Wrap]'s listener, those of TCP
//     routes become a session: dial, relay, count. If TLS ends in the pod, the
//     session is one below TLS.
//  5. [Parker] takes the sessions that are idle, and wakes them.
//
// Every live session, and every HTTP request in flight, stands in [Sessions]
// under its route, and ends when the route stops to be what it was opened for.
//
//	sock, err := sni.Listen(ctx, "127.0.0.1:8443", net.ListenConfig{})
//	if err != nil { ... }
//	preface := &sni.Preface{Stats: stats}
//	demux := &sni.Demux{
//		Table: table, Sessions: sessions, Dialer: dialer, Cancels: sni.NewCancels(), Stats: stats, Log: log,
//	}
//	ln := demux.Wrap(hub, tls.NewListener(preface.Wrap(sock), config))
//	err = http.Serve(ln, handler)
package sni
