package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/podctl/diagnose"
	"github.com/tapis-project/podway/routes/redisroutes"
)

// checkEdges looks at what is published and whether each edge has it.
func checkEdges(ctx context.Context, fleet *redisroutes.Fleet, settle time.Duration) []diagnose.Finding {
	p, err := fleet.Published(ctx)
	if err != nil {
		return []diagnose.Finding{fault("routes", FaultRedisRights, err.Error(), "give the user the rights of docs/routes.md")}
	}
	all := []diagnose.Finding{published(p)}
	edges, now, err := caughtUp(ctx, fleet, p, settle)
	if err != nil {
		return append(all, fault("edges", FaultRedisRights, err.Error(), "give the user the rights +hgetall and +time (docs/routes.md)"))
	}
	if len(edges) == 0 {
		return append(all, fault("edges", FaultEdgeNone, "none was heard of within a day", "start an edge with this Redis and namespace; one that runs needs the rights for edges: (docs/routes.md), its log tells"))
	}
	slices.SortFunc(edges, func(a, b redisroutes.EdgeStatus) int { return cmp.Compare(a.Edge, b.Edge) })
	for _, e := range edges {
		all = append(all, checkEdge(e, p, now)...)
	}
	return all
}

func published(p redisroutes.Published) diagnose.Finding {
	switch {
	case p.Epoch == "":
		return fault("routes", FaultRoutesUnpublished, "nothing was ever published into this namespace", "start the control plane; compare PODWAY_NAMESPACE and PODWAY_REDIS_URL with those it runs with")
	case !p.Complete:
		return fault("routes", FaultRoutesIncomplete, "Redis lost routes, and not all pods are published again", "wait a minute; if it stays, look into the log of the leading control plane for pods that can't be published")
	}
	return diagnose.OK("routes", "", fmt.Sprintf("are published, version %d", p.Version))
}

// caughtUp reads the status of edges, and gives those that seem to be behind the
// time to catch up.
func caughtUp(ctx context.Context, fleet *redisroutes.Fleet, p redisroutes.Published, settle time.Duration) ([]redisroutes.EdgeStatus, time.Time, error) {
	deadline := time.Now().Add(settle)
	for {
		now, err := fleet.Now(ctx)
		if err != nil {
			return nil, now, err
		}
		edges, err := fleet.Edges(ctx, now)
		if err != nil {
			return nil, now, err
		}
		waiting := slices.ContainsFunc(edges, func(e redisroutes.EdgeStatus) bool { return !silent(e, now) && behind(e, p) })
		if !waiting || time.Now().After(deadline) || ctx.Err() != nil {
			return edges, now, nil //nolint:nilerr // what is known by then is the answer
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func silent(e redisroutes.EdgeStatus, now time.Time) bool {
	return now.Sub(e.At) > redisroutes.EdgeSilentAfter
}

func behind(e redisroutes.EdgeStatus, p redisroutes.Published) bool {
	return !e.Synced || (p.Epoch != "" && (e.Epoch != p.Epoch || e.Version < p.Version))
}

// checkEdge looks at what one edge says.
func checkEdge(e redisroutes.EdgeStatus, p redisroutes.Published, now time.Time) []diagnose.Finding {
	var all []diagnose.Finding
	bad := func(fault, found, remedy string) {
		all = append(all, diagnose.Finding{Check: "edge", Subject: e.Edge, Fault: fault, Found: found, Remedy: remedy})
	}
	if silent(e, now) {
		bad(FaultEdgeSilent, fmt.Sprintf("was last heard of %v ago", now.Sub(e.At).Round(time.Second)),
			"look whether it runs and reaches Redis; it may well serve what it knew. If it is gone for good, it is forgotten after a day")
		return all // all else is old
	}
	if behind(e, p) {
		bad(FaultEdgeBehind, fmt.Sprintf("has version %d of the routes, published is %d", e.Version, p.Version), "look into its log for errors of Redis; does it follow a replica that is behind? A restart reads all again")
	}
	if e.Bad > 0 {
		bad(FaultEdgeRoutes, fmt.Sprintf("can't use the records of %d hosts", e.Bad), "is the edge older than the control plane? Upgrade it; its log names the hosts")
	}
	if e.Held > 0 {
		bad(FaultEdgeHeld, fmt.Sprintf("serves %d routes that Redis lacks", e.Held), "Redis lost data: wait until the control plane has published all again. If these pods are gone for good: POST /podway/routes/confirm at the edge's admin API")
	}
	if e.Draining {
		bad(FaultEdgeDraining, "accepts no more connections", "restart it or load its configuration again; nothing is to be done if it is to end")
	}
	for _, name := range slices.Sorted(maps.Keys(e.Certificates)) {
		if !e.Certificates[name] {
			bad(FaultEdgeCertificate, "has no certificate for "+name, "look into its log for errors of the certificate authority, of DNS and of the storage")
		}
	}
	if skew := time.Duration(e.SkewMS) * time.Millisecond; skew.Abs() > maxSkew {
		bad(FaultEdgeClock, fmt.Sprintf("its clock and that of Redis differ by %v", skew), "let a time service set its clock; tokens and certificates are judged by it")
	}
	if len(all) == 0 {
		all = append(all, diagnose.OK("edge", e.Edge, fmt.Sprintf("has all %d routes, version %d, %d sessions%s", e.Routes, e.Version, e.Sessions, software(e))))
	}
	return all
}

func software(e redisroutes.EdgeStatus) string {
	if e.Software == "" {
		return ""
	}
	return ", " + strings.TrimSpace(e.Software)
}
