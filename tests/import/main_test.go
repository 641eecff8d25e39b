// Package imports moves a made-up Pods service over: `podway import` reads its
// database, and a control plane goes on with what it finds in the store.
package imports

import (
	"testing"

	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }
