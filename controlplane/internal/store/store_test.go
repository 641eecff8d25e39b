package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store/storetest"
	"github.com/tapis-project/podway/tests/parts"
)

func TestMain(m *testing.M) {
	runWriterIfAsked()
	goleak.VerifyTestMain(m)
}

func TestSQLite(t *testing.T) {
	testEngine(t, func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "podway.db") })
}

func TestPostgres(t *testing.T) {
	server := parts.StartPostgres(t)
	admin := openDB(t, server.DSN)
	// The server listens before it lets anyone in.
	parts.Eventually(t, 30*time.Second, func() error { return admin.PingContext(t.Context()) })
	n := 0
	testEngine(t, func(t *testing.T) string {
		n++
		name := fmt.Sprint("test", n)
		if _, err := admin.ExecContext(t.Context(), "create database "+name); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", server.Port, name)
	})
}

// testEngine runs all tests that hold for both engines. address returns the
// address of a new empty database.
func testEngine(t *testing.T, address func(t *testing.T) string) {
	t.Run("conformance", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) pods.Store { return migrated(t, address(t)) })
	})
	t.Run("events", func(t *testing.T) {
		storetest.RunEvents(t, func(t *testing.T) storetest.EventStore { return migrated(t, address(t)) })
	})
	t.Run("imports", func(t *testing.T) {
		storetest.RunImports(t, func(t *testing.T) storetest.ImportStore { return migrated(t, address(t)) })
	})
	t.Run("templates", func(t *testing.T) {
		storetest.RunTemplates(t, func(t *testing.T) storetest.TemplateStore { return migrated(t, address(t)) })
	})
	t.Run("images", func(t *testing.T) {
		storetest.RunImages(t, func(t *testing.T) pods.ImageStore { return migrated(t, address(t)) })
	})
	t.Run("volumes", func(t *testing.T) {
		storetest.RunVolumes(t, func(t *testing.T) storetest.VolumeStore { return migrated(t, address(t)) })
	})
	t.Run("secrets", func(t *testing.T) {
		storetest.RunSecrets(t, func(t *testing.T) storetest.SecretStore { return migrated(t, address(t)) })
	})
	t.Run("login", func(t *testing.T) {
		storetest.RunLogin(t, func(t *testing.T) storetest.LoginStore { return migrated(t, address(t)) })
	})
	t.Run("domains", func(t *testing.T) {
		storetest.RunDomains(t, func(t *testing.T) storetest.DomainStore { return migrated(t, address(t)) })
	})
	t.Run("round trips", func(t *testing.T) {
		storetest.RunRoundTrips(t, func(t *testing.T) storetest.WholeStore { return migrated(t, address(t)) })
	})
	for name, test := range engineTests {
		t.Run(name, func(t *testing.T) { test(t, address(t)) })
	}
}
