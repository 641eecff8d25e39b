package certs

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
)

// provision returns a context with the app podway, and that app.
func provision(t testing.TB, app *podway.App) (caddy.Context, *podway.App) {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{"podway": caddyconfig.JSON(app, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := podway.Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := appOf(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = certs.Cleanup()
		_ = loaded.Cleanup()
	})
	return ctx, loaded
}

func permission(t testing.TB, ctx caddy.Context) *Permission {
	t.Helper()
	p := new(Permission)
	if err := p.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOnlyHostsWithARouteGetCertificates(t *testing.T) {
	ctx, app := provision(t, &podway.App{Certificates: []string{"*.pods.test"}})
	own := snitest.Route("own.pods.test", routes.TCP, "10.0.0.1:1")
	own.TLS = routes.Passthrough
	snitest.Set(t, app.Table(), own,
		snitest.Route("web.pods.test", routes.HTTP, "10.0.0.1:1"),
		snitest.Route("*.many.test", routes.HTTP, "10.0.0.1:1"))
	p := permission(t, ctx)
	for name, want := range map[string]bool{
		"web.pods.test": true, "WEB.pods.test.": true, warmLabel + ".pods.test": true,
		"none.pods.test": false, "own.pods.test": false, "x.many.test": false, "*.many.test": false, "": false, "10.0.0.1": false,
		warmLabel + ".many.test": false, warmLabel: false, warmLabel + ".": false, "*.pods.test": false, warmLabel + ".x.pods.test": false,
	} {
		err := p.CertificateAllowed(t.Context(), name)
		if (err == nil) != want || (err != nil && !errors.Is(err, caddytls.ErrPermissionDenied)) {
			t.Errorf("%q: got %v, want allowed %v", name, err, want)
		}
	}
}

// crowded returns a permission beside many routes.
func crowded(t testing.TB, n int) *Permission {
	t.Helper()
	ctx, app := provision(t, new(podway.App))
	for i := range n {
		e, err := routes.Compile(snitest.Route(fmt.Sprintf("p%d.pods.test", i), routes.HTTP, "10.0.0.1:1"))
		if err != nil {
			t.Fatal(err)
		}
		app.Table().Put(e)
	}
	return permission(t, ctx)
}

func TestPermissionTakesLessThanAMillisecondBeside100000Routes(t *testing.T) {
	const n = 100000
	p := crowded(t, n)
	begin := time.Now()
	for i := range n {
		_ = p.CertificateAllowed(t.Context(), fmt.Sprintf("p%d.pods.test", i*2)) // half of them exist
	}
	each := time.Since(begin) / n
	if each > time.Millisecond {
		t.Errorf("got %v for each decision, want less than 1ms", each)
	}
}

func BenchmarkPermission(b *testing.B) {
	p := crowded(b, 100000)
	for b.Loop() {
		_ = p.CertificateAllowed(b.Context(), "p77777.pods.test")
	}
}
