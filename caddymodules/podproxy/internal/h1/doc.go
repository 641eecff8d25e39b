// Package h1 is a lean client side of HTTP/1.1 for a proxy: connections that are
// pooled, and messages that are read and written by the goroutine of the request
// itself. It holds no header maps and starts no goroutines, and it takes servers
// for hostile: whatever is not clearly one valid response is an error, and a
// connection with a byte too many is never used again.
//
//	c := pool.Get(key, maxIdle)
//	if c == nil {
//		raw, err := dial(ctx)
//		if err != nil { ... }
//		if c, err = h1.NewConn(raw); err != nil { ... }
//	}
//	head := h1.AppendRequestLine(c.Scratch(), "GET", "/")
//	head = h1.AppendField(head, "Host", "web.pods.test")
//	_, err := c.WriteHead(h1.AppendEnd(head))
//	res, err := c.ReadResponse("GET")
//	n, err := c.ReadBody(buf) // until io.EOF
//	pool.Put(key, c)
package h1
