package gate

import (
	"context"
	"errors"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

// errUnsettled is returned when a route changed all the time.
var errUnsettled = errors.New("the route changed all the time")

// admitConnection implements [sni.Admit]. As with requests, who the client is, is
// found out once and whether it may pass is watched. Like a session, a connection
// lasts for the lifetime of one, and longer than its token if sessions do.
func (h *Handler) admitConnection(ctx context.Context, e *routes.Entry, token string) (context.Context, func(), error) {
	if e.Gate == nil {
		return nil, nil, sni.ErrNotAllowed
	}
	now := time.Now()
	of, err := h.guard.visitorOfToken(ctx, token, now)
	if err != nil {
		count(badToken)
		h.log.Debug("refusing a token", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "error", err)
		return nil, nil, sni.ErrBadToken
	}
	v := &visitor{kind: byToken, key: of.key, username: of.username, tenant: of.tenant, expires: of.expires}
	if !h.settings.untilToken {
		v.expires = now.Add(h.settings.lifetime)
	}
	for range maxDecisions {
		if !v.mayPass(e, now) {
			count(notAllowed)
			return nil, nil, sni.ErrNotAllowed
		}
		live, end := lives.open(ctx, &request{entry: e, visitor: v})
		// What changed until here did not find the connection among those that go on.
		current := h.table.Get(e.Host)
		if current == e {
			count(passToken)
			return live, end, nil
		}
		end()
		if current == nil || current.Gate == nil {
			break // the session finds out by itself what that means
		}
		e = current
	}
	return nil, nil, errUnsettled
}
