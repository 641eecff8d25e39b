package sni

import (
	"testing"

	"go.uber.org/goleak"
)

// Connections come by the million: nothing may be left of one that is gone.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
