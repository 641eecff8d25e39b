package api

import (
	"context"
	"net/http"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// The headers that say who makes a request. The token is read from its header
// only, never from a cookie: a page elsewhere can't make a browser send it.
const (
	tokenHeader  = "X-Tapis-Token" //nolint:gosec // the name of a header, not a token
	tenantHeader = "X-Tapis-Tenant"
	userHeader   = "X-Tapis-User"
	adminHeader  = "X-Pods-Admin"
)

// admit decides whether a caller may make a call, in this order:
//
//  1. the token: 401, or 403 for one of another tenant;
//  2. the wish to act as an admin of the tenant: 403;
//  3. the role that an operation on the whole site needs: 403;
//  4. the object: 404 if there is none, or none that the caller may know of;
//  5. the caller's level on it: 403;
//  6. the number of changes the caller has made lately: 429.
func (s *server) admit(r *http.Request, op *operation) (*request, error) {
	req := &request{Request: r, op: op}
	if op.open {
		return req, nil
	}
	var err error
	if req.who, err = s.authenticate(r); err != nil {
		return nil, err
	}
	traceOf(r).who = req.who
	if req.adminMode, err = s.adminMode(r, req.who); err != nil {
		return nil, err
	}
	if op.admin && !s.siteAdmin(r.Context(), req.who) {
		return nil, notAuthorized(op)
	}
	if err = s.load(r.Context(), req); err != nil {
		return nil, err
	}
	if op.changes {
		if err := s.limit(r.Context(), req.who); err != nil {
			return nil, err
		}
	}
	return req, nil
}

func (s *server) authenticate(r *http.Request) (pods.Principal, error) {
	return s.Identity.Authenticate(r.Context(), pods.Credential{
		Token:            r.Header.Get(tokenHeader),
		OnBehalfOfTenant: r.Header.Get(tenantHeader),
		OnBehalfOfUser:   r.Header.Get(userHeader),
		Host:             r.Host,
	})
}

// adminMode reports whether the caller asks for the view of the whole tenant.
func (s *server) adminMode(r *http.Request, who pods.Principal) (bool, error) {
	if wish, _ := parseBool(r.Header.Get(adminHeader)); !wish {
		return false, nil
	}
	if !s.Identity.Admin(r.Context(), who) {
		return false, pods.Errorf(pods.Forbidden, "X-Pods-Admin header requires the PODS_ADMIN role.")
	}
	return true, nil
}

// load puts the object that the path names into the request, if the caller holds
// what the operation needs of it.
func (s *server) load(ctx context.Context, r *request) (err error) {
	switch r.op.kind {
	case kindPod:
		r.pod, err = s.permittedPod(ctx, r, r.podID())
	case kindTemplate:
		r.template, err = s.permittedTemplate(ctx, r, r.param("template_id"))
	case kindVolume:
		r.volume, err = s.permittedVolume(ctx, r, r.volumeKey(pods.KindVolume, r.param("volume_id")))
	case kindSnapshot:
		r.volume, err = s.permittedVolume(ctx, r, r.volumeKey(pods.KindSnapshot, r.param("snapshot_id")))
	case kindSecret:
		r.secret, err = s.permittedSecret(ctx, r, r.param("secret_id"))
	case kindNone:
	}
	return err
}

// permit compares the level that a caller holds on an object with the one that
// the operation needs. Admins hold everything; admin is asked only if that
// matters. To a caller who may not even read it, an object that is there looks
// like one that is not, so that names can't be probed.
func permit(op *operation, level pods.Level, admin func() bool, notFound error) error {
	switch {
	case level.Includes(op.level), admin():
		return nil
	case level.Includes(pods.LevelRead):
		return notAuthorized(op)
	default:
		return notFound
	}
}

// notAuthorized says that the caller may know of the operation's object, but not
// do this to it.
func notAuthorized(op *operation) error {
	return pods.Errorf(pods.Forbidden,
		"Not authorized -- you do not have access to this endpoint. %s %s", op.method, op.pattern)
}

// permittedPod returns a pod on which the caller holds what the operation needs.
func (s *server) permittedPod(ctx context.Context, r *request, id pods.ID) (pods.Pod, error) {
	traceOf(r.Request).podID = id
	p, err := s.Store.Pod(ctx, r.key(id))
	if pods.ErrorCode(err) == pods.NotFound {
		return pods.Pod{}, podNotFound(id)
	}
	if err != nil {
		return pods.Pod{}, err
	}
	admin := func() bool { return s.Identity.Admin(ctx, r.who) }
	if err := permit(r.op, p.Permissions.Level(r.who.User), admin, podNotFound(id)); err != nil {
		return pods.Pod{}, err
	}
	return p, nil
}

// podNotFound says that there is no such pod.
func podNotFound(id pods.ID) error {
	return pods.Errorf(pods.NotFound, "Pod with identifier pod_id: '%s' not found", id)
}

// gone turns the store's NotFound, for a pod that was deleted during the
// request, into the text that clients know.
func gone(err error, id pods.ID) error {
	if pods.ErrorCode(err) == pods.NotFound {
		return podNotFound(id)
	}
	return err
}
