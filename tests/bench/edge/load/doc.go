// Package load makes the load of the edge's benchmark: clients that do one kind
// of work for some time and count it, and the server behind what is measured.
//
//	up, err := load.StartUpstream(ctx)
//	...
//	target := load.Target{Addr: "127.0.0.1:8443", Host: "tcp.bench.test", Roots: pool}
//	res, err := load.Handshakes(ctx, target, 8, 2*time.Second)
//	fmt.Println(res.Rate(), "handshakes a second")
//
// The work is the same for whatever is behind the address. A failed operation
// fails the load, unless it is said to count failures.
package load
