// Package storetest is the executable form of the comments of pods.Store. Every
// implementation runs it:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) pods.Store { return openEmptyStore(t) })
//	}
package storetest
