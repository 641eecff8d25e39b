package podway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni"
)

// maxAnswered bounds the lists that go through Redis.
const maxAnswered = 1000

// started is when the process began.
var started = time.Now()

// runLink announces the edge in Redis, and carries out what `podway admin` tells
// it, until the configuration ends.
func (a *App) runLink() error {
	opts, namespace, err := a.RedisOptions()
	if err != nil {
		return err
	}
	l, err := redisroutes.NewEdgeLink(redisroutes.EdgeLinkOptions{
		Redis: opts, Namespace: namespace, Name: a.Records.Edge, Status: a.announced, Do: a.obey, Logger: a.log,
	})
	if err != nil {
		return err
	}
	// Sessions are drained after the configuration's context has ended.
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.ctx))
	done := make(chan struct{})
	a.endLink = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		l.Run(ctx, caddy.Exiting)
	}()
	return nil
}

// announced is the status of the edge as others are told.
func (a *App) announced() redisroutes.EdgeStatus {
	s := a.status()
	simple, _ := caddy.Version()
	return redisroutes.EdgeStatus{
		Software: simple, Started: started.UTC(), Ready: s.Ready, Draining: s.Draining, Synced: s.Routes.Synced,
		Epoch: s.Routes.Epoch, Version: s.Routes.Version, Routes: s.Routes.Count, Bad: s.Routes.Bad, Held: s.Routes.Held,
		Connections: s.Connections, Sessions: s.Sessions, Certificates: s.Certificates,
	}
}

// obey carries out a command.
func (a *App) obey(c redisroutes.EdgeCommand) (any, error) {
	limit := min(cmp.Or(max(c.Limit, 0), maxAnswered), maxAnswered)
	switch c.Do {
	case redisroutes.CommandRoutes:
		return a.routesOf(c.Host, c.After, limit), nil
	case redisroutes.CommandSessions:
		return SessionList{Sessions: append([]sni.Info{}, sessions.List(c.Host, limit)...), Total: sessions.Len()}, nil
	case redisroutes.CommandDrain:
		return a.refuseNew("podway admin"), nil
	case redisroutes.CommandKick:
		if (c.Host == "") == (c.Session == 0) {
			return nil, errors.New("say which sessions: those of a host or one by its id")
		}
		return a.endSessions(c.Host, c.Session, "podway admin"), nil
	}
	return nil, fmt.Errorf("this edge can't do %q", c.Do)
}

// routesOf returns the route a client of a host gets, or the first routes after a
// host.
func (a *App) routesOf(host, after string, limit int) RouteList {
	if host == "" {
		return a.routeList(after, limit)
	}
	list := RouteList{Routes: []routes.Route{}}
	if e := a.lookup(host); e != nil {
		list.Routes = append(list.Routes, e.Route)
	}
	return list
}

func (a *App) lookup(host string) *routes.Entry {
	if e := a.Table().Lookup(routes.NormalizeHost(host)); e != nil {
		return e
	}
	return a.Table().Get(host) // a wildcard itself
}

// routeList returns the first routes after a host.
func (a *App) routeList(after string, limit int) RouteList {
	list := RouteList{Routes: []routes.Route{}}
	a.Table().Range(func(e *routes.Entry) bool {
		if e.Host > after {
			list.Routes = append(list.Routes, e.Route)
		}
		return true
	})
	slices.SortFunc(list.Routes, func(a, b routes.Route) int { return cmp.Compare(a.Host, b.Host) })
	if len(list.Routes) > limit {
		list.Routes = list.Routes[:limit]
		list.Next = list.Routes[limit-1].Host
	}
	return list
}

// endSessions ends the sessions of a host, or one.
func (a *App) endSessions(host string, id uint64, by string) map[string]int {
	kicked := sessions.Kick(host, id)
	a.log.Info("sessions ended by an admin", "host", host, "id", id, "sessions", kicked, "by", by)
	return map[string]int{"kicked": kicked}
}

// refuseNew closes the listening sockets.
func (a *App) refuseNew(by string) map[string]int {
	leaving.Store(true)
	sni.StopListening()
	a.log.Info("accepting no more connections", "by", by)
	return map[string]int{"sessions": sessions.Len(), "connections": a.preface.Open()}
}
