// Package system starts whole Podways for tests that drive them from outside:
// the control plane in development mode, and an edge for those that reach pods.
//
//	func TestMain(m *testing.M) { system.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		s := system.Start(t)
//		u := s.Login("testuser")
//		u.Call(http.MethodPost, "/v3/pods", `{"pod_id":"web","image":"podway/hello"}`)
//		u.WaitStatus("web", "AVAILABLE")
//	}
//
// Programs are built once for a package's tests. Everything is on loopback, on
// free ports, and stopped with the test.
package system
