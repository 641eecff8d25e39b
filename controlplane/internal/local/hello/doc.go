// Package hello is the program behind the image podway/hello: a small service
// that shows how a pod is reached.
//
//	podway hello -listen web=http://127.0.0.1:5000 -listen raw=tcp://127.0.0.1:7000
//
// An http entry serves the paths of [Handler]; a tcp entry sends back every
// byte it gets and half-closes when its client does. Without -listen it serves
// http on port 5000 of every address, as an image does in a container. SIGTERM
// or SIGINT ends it in order.
//
// With -exit-after the program ends by itself, with the status that -exit-code
// gives: a pod that completes, or fails, on demand.
package hello
