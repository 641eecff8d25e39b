package certs

import (
	"errors"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
)

func TestOnlyHostsWithARouteGetCertificates(t *testing.T) {
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{"podway": caddyconfig.JSON(new(podway.App), nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	app, err := podway.Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Cleanup() })
	own := snitest.Route("own.pods.test", routes.TCP, "10.0.0.1:1")
	own.TLS = routes.Passthrough
	snitest.Set(t, app.Table(), own,
		snitest.Route("web.pods.test", routes.HTTP, "10.0.0.1:1"),
		snitest.Route("*.many.test", routes.HTTP, "10.0.0.1:1"))

	p := new(Permission)
	if err := p.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"web.pods.test": true, "WEB.pods.test.": true,
		"none.pods.test": false, "own.pods.test": false, "x.many.test": false, "*.many.test": false, "": false, "10.0.0.1": false,
	} {
		err := p.CertificateAllowed(t.Context(), name)
		if (err == nil) != want || (err != nil && !errors.Is(err, caddytls.ErrPermissionDenied)) {
			t.Errorf("%q: got %v, want allowed %v", name, err, want)
		}
	}
}
