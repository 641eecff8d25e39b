package clients

import (
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/system"
)

// limit is how long a test waits for what should take no time.
const limit = time.Minute

// startWithin bounds the start of a server. Java's compile themselves first.
const startWithin = 5 * time.Minute

func TestMain(m *testing.M) { system.Main(m) }
