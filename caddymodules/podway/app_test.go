package podway

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// provision makes the app of a configuration, and cleans up after the test.
func provision(t *testing.T, settings App) *App {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{"podway": caddyconfig.JSON(settings, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	app, err := Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func TestConfigurationsShareATable(t *testing.T) {
	rs := miniredis.RunT(t)
	first := provision(t, App{Redis: "redis://" + rs.Addr()})
	other := provision(t, App{Redis: "redis://" + rs.Addr(), Namespace: "other"})
	defer other.Cleanup() //nolint:errcheck // nothing to clean up
	snitest.Set(t, first.Table(), snitest.Route("web.pods.test", routes.HTTP, "10.0.0.1:1"))

	// The next configuration has other limits and another log.
	next := provision(t, App{Redis: "redis://" + rs.Addr(), GracePeriod: caddy.Duration(time.Second)})
	if err := first.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if next.Table().Get("web.pods.test") == nil || next.Preface() != first.Preface() {
		t.Error("the next configuration begins anew")
	}
	if other.Table().Get("web.pods.test") != nil {
		t.Error("another namespace has the same table")
	}
	if err := next.Cleanup(); err != nil {
		t.Fatal(err)
	}
	last := provision(t, App{Redis: "redis://" + rs.Addr()})
	defer last.Cleanup() //nolint:errcheck // nothing to clean up
	if last.Table().Len() != 0 {
		t.Error("the table outlives its last configuration")
	}
}

func TestReadyWhenTheTableIsLoaded(t *testing.T) {
	rs := miniredis.RunT(t)
	app := provision(t, App{Redis: "redis://" + rs.Addr()})
	if app.Loaded() {
		t.Error("loaded before the start")
	}
	app.Run()
	app.Run() // once is enough
	<-app.Ready()
	parts.Eventually(t, 20*time.Second, func() error {
		if !app.Loaded() {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	if s := app.status(); !s.Ready || !s.Routes.Synced {
		t.Errorf("got %+v, want ready", s)
	}
	if err := app.Cleanup(); err != nil {
		t.Fatal(err)
	}
}

func TestReadyWithoutRedisAfterAWhile(t *testing.T) {
	app := provision(t, App{Redis: "redis://127.0.0.1:1"})
	app.Run()
	<-app.Ready()
	if app.Loaded() || app.status().Ready {
		t.Error("loaded without Redis")
	}
	if err := app.Cleanup(); err != nil {
		t.Fatal(err)
	}
}

// The session of one pod ends with the last configuration at the latest.
func TestNothingOutlivesTheLastConfiguration(t *testing.T) {
	app := provision(t, App{})
	snitest.Set(t, app.Table(), snitest.Route("echo.pods.test", routes.TCP, "10.0.0.1:1"))
	ctx, session := app.Sessions().Open(t.Context(), app.Table(), app.Table().Get("echo.pods.test"), mustAddr("127.0.0.1:1"))
	defer session.End()
	next := provision(t, App{Namespace: "next"})
	if err := app.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Error("a session ends while there is a configuration")
	}
	if err := next.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() == nil {
		t.Error("a session goes on without any configuration")
	}
}

func TestLogFollowsTheConfiguration(t *testing.T) {
	var first, second bytes.Buffer
	l := new(currentLog)
	l.use(slog.New(slog.NewTextHandler(&first, nil)))
	log := slog.New(l)
	log.Info("one")
	log.Debug("not at this level")
	l.use(slog.New(slog.NewTextHandler(&second, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.Debug("two")
	log.With("key", "value").WithGroup("g").Info("three")
	if got := first.String(); !strings.Contains(got, "one") || strings.Contains(got, "not at this level") || strings.Contains(got, "two") {
		t.Errorf("first log: got %q", got)
	}
	if got := second.String(); !strings.Contains(got, "two") || !strings.Contains(got, "key=value") {
		t.Errorf("second log: got %q", got)
	}
}

func TestReplaceFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ca.crt")
	for _, text := range []string{"one", "two"} {
		if err := replaceFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		info, err2 := os.Stat(name)
		if err != nil || err2 != nil || string(b) != text || info.Mode().Perm() != 0o644 {
			t.Errorf("got %q %v, %v, %v", b, info.Mode(), err, err2)
		}
	}
	if left, _ := filepath.Glob(name + ".*"); len(left) > 0 {
		t.Errorf("got %v left over", left)
	}
	if err := replaceFile(filepath.Join(t.TempDir(), "none", "ca.crt"), nil); err == nil {
		t.Error("got no error for a folder that does not exist")
	}
}

func mustAddr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
