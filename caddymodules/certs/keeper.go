package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/routes"
)

// workers is how many certificates are got at once.
const workers = 4

type getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// observer tells the app of whichever configuration runs about changes of a table.
// A table can't forget who observes it, so it gets one for all configurations.
type observer struct{ app atomic.Pointer[App] }

var observers sync.Map // *routes.Table → *observer

func observe(t *routes.Table, a *App) {
	v, known := observers.LoadOrStore(t, new(observer))
	o := v.(*observer)
	o.app.Store(a)
	if !known {
		t.OnChange(o.changed)
	}
}

func unobserve(t *routes.Table, a *App) {
	if v, ok := observers.Load(t); ok {
		v.(*observer).app.CompareAndSwap(a, nil)
	}
}

// changed must not block: it only queues.
func (o *observer) changed(host string, old, now *routes.Entry) {
	if a := o.app.Load(); a != nil && now != nil && old == nil && a.needsOwn(now) {
		a.queue.add(host)
	}
}

// needsOwn reports whether a route needs a certificate of its own, ahead of its
// first visitor.
func (a *App) needsOwn(e *routes.Entry) bool {
	return !a.LazyHosts && mayHave(e) && a.zones.zoneOf(e.Host) == ""
}

// mayHave reports whether there is to be a certificate for the host of a route. A
// wildcard route has any number of names, and a pod that ends TLS itself has its own.
func mayHave(e *routes.Entry) bool {
	return e != nil && e.TLS != routes.Passthrough && e.Host[0] != '*'
}

// sweep looks at all certificates from time to time.
func (a *App) sweep(ctx context.Context) {
	select {
	case <-a.podway.Ready():
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(time.Duration(a.CheckInterval))
	defer tick.Stop()
	for {
		a.lookAtAll()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lookAtAll queues all certificates, and warns if memory has no room for them: those
// that have none are loaded at each handshake.
func (a *App) lookAtAll() {
	a.enqueueZones()
	all := len(a.zones.all())
	a.podway.Table().Range(func(e *routes.Entry) bool {
		if a.needsOwn(e) {
			a.queue.add(e.Host)
			all++
		}
		return true
	})
	if room := a.cacheRoom(); all > room {
		a.log.Warn("memory has no room for all certificates; raise the capacity of the cache of the app tls", "certificates", all, "capacity", room)
	}
	a.states.forgetExcept(a.known)
}

// cacheRoom returns how many certificates Caddy keeps in memory.
func (a *App) cacheRoom() int {
	const byDefault = 10_000
	app, err := a.ctx.App("tls")
	if err != nil {
		return byDefault
	}
	if t, ok := app.(*caddytls.TLS); ok && t.Cache != nil && t.Cache.Capacity > 0 {
		return t.Cache.Capacity
	}
	return byDefault
}

func (a *App) enqueueZones() {
	for domain := range a.zones.all() {
		a.queue.add(warmLabel + "." + domain)
	}
}

// known reports whether the state of a certificate is still of interest.
func (a *App) known(subject string) bool {
	if subject[0] == '*' {
		_, ok := a.zones.all()[subject[2:]]
		return ok
	}
	return mayHave(a.podway.Table().Get(subject)) && a.zones.zoneOf(subject) == ""
}

// work takes names from the queue until ctx ends.
func (a *App) work(ctx context.Context) {
	for {
		name, ok := a.queue.next()
		if ok {
			a.touch(ctx, name)
			continue
		}
		select {
		case <-a.queue.some:
		case <-ctx.Done():
			return
		}
	}
}

// touch asks for the certificate of a host as a handshake would: it is loaded,
// ordered or renewed if needed.
func (a *App) touch(ctx context.Context, host string) {
	if ctx.Err() != nil {
		return
	}
	a.learnZone(ctx, host)
	subject, tenant := a.zones.subject(host), a.tenantOf(host)
	a.states.pending(subject, tenant)
	self, peer := net.Pipe() // certmagic logs the addresses of a connection
	defer self.Close()
	defer peer.Close()
	cert, err := a.get(&tls.ClientHelloInfo{
		ServerName: host, Conn: self, SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.Ed25519, tls.PSSWithSHA256},
		CipherSuites:     []uint16{tls.TLS_AES_128_GCM_SHA256}, SupportedCurves: []tls.CurveID{tls.X25519, tls.CurveP256},
	})
	if err == nil && (cert == nil || cert.Leaf == nil) {
		err = errors.New("there is no certificate")
	}
	if err != nil {
		a.states.failed(subject, tenant, err)
		return
	}
	a.states.ok(subject, tenant, cert.Leaf)
}

// tenantOf returns the tenant that a host belongs to, "" if it is unknown.
func (a *App) tenantOf(host string) string {
	if domain := a.zones.zoneOf(host); domain != "" {
		return a.zones.all()[domain]
	}
	if e := a.podway.Table().Get(host); e != nil {
		return e.Tenant
	}
	return ""
}
