//go:build !unix

package sni

import "net"

func waiting(net.Listener) bool { return false }
