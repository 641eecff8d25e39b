package api

import (
	"context"
	"errors"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// listSecrets answers with the secrets the caller may see, without their values;
// in admin mode with all of the tenant.
func (s *server) listSecrets(r *request) (answer, error) {
	q, err := r.listQuery()
	if err != nil {
		return answer{}, err
	}
	query := pods.SecretQuery{Tenant: r.who.Tenant.ID, User: r.who.User}
	if r.adminMode {
		query.User = ""
	}
	list, err := s.Store.Secrets(r.Context(), query)
	if err != nil {
		return answer{}, err
	}
	list = pageOf(q, list, func(x pods.Secret) []string { return []string{x.ID, x.Description} })
	a := answer{message: "Secrets retrieved successfully.", result: viewsOf(list, pods.NewSecretView), metadata: map[string]any{}}
	if r.adminMode {
		own := []string{}
		for _, x := range list {
			if x.Permissions.Level(r.who.User).Includes(pods.LevelRead) {
				own = append(own, x.Name())
			}
		}
		a.metadata["admin_context"] = newAdminContext("secrets", own)
	}
	return a, nil
}

// createSecret stores a new secret of the caller.
func (s *server) createSecret(r *request) (answer, error) {
	body, err := pods.DecodeNewSecret(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	if err := s.checkSecretPod(r, body.Pod); err != nil {
		return answer{}, err
	}
	now := s.Now().UTC()
	x := pods.Secret{
		SecretKey: pods.SecretKey{Tenant: r.who.Tenant.ID, Owner: r.who.User, ID: body.ID}, UID: pods.NewUID(),
		Description: body.Description, Scope: body.Scope, Pod: body.Pod, Readable: body.Readable, Writable: body.Writable,
		Permissions: pods.Permissions{r.who.User: pods.LevelAdmin}, CreatedAt: now, UpdatedAt: now,
	}
	err = s.Store.CreateSecret(r.Context(), x, body.Value, s.secretEvent(r, pods.SecretCreated))
	if pods.ErrorCode(err) == pods.Exists {
		return answer{}, pods.Errorf(pods.Exists,
			"Key (secret_id)=(%[1]s) already exists. Change its value with PUT /v3/pods/secrets/%[1]s.", x.ID)
	}
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Secret created successfully.", result: pods.NewSecretView(x)}, nil
}

// checkSecretPod reports whether the caller may give a pod secrets of its own.
func (s *server) checkSecretPod(r *request, id pods.ID) error {
	if id == "" {
		return nil
	}
	p, err := s.Store.Pod(r.Context(), r.key(id))
	if err != nil && pods.ErrorCode(err) != pods.NotFound {
		return err
	}
	if err != nil || !p.Permissions.Level(r.who.User).Includes(pods.LevelUser) {
		return invalidf("pod_id: there is no pod '%s' on which you hold USER.", shorten(string(id)))
	}
	return nil
}

func (s *server) secretEvent(r *request, k pods.SecretEventKind) pods.SecretEvent {
	return pods.SecretEvent{At: s.Now().UTC(), Kind: k, Actor: r.who.User}
}

// getSecret answers with a secret, without its value. Those who may change it also
// learn which pods use it, and what happened to it.
func (s *server) getSecret(r *request) (answer, error) {
	a := answer{message: "Secret retrieved successfully.", result: pods.NewSecretView(r.secret)}
	if !r.secret.Permissions.Level(r.who.User).Includes(pods.LevelUser) && !s.Identity.Admin(r.Context(), r.who) {
		return a, nil
	}
	used, err := s.usersOfSecret(r)
	if err != nil {
		return answer{}, err
	}
	events, err := s.Store.SecretEvents(r.Context(), r.secret.SecretKey)
	if err != nil {
		return answer{}, err
	}
	a.metadata = map[string]any{"used_by": used, "audit": viewsOf(events, pods.SecretEvent.Line)}
	return a, nil
}

// usersOfSecret returns the pods that got a secret at their latest start.
func (s *server) usersOfSecret(r *request) ([]pods.ID, error) {
	k := r.secret.SecretKey
	ids, err := s.Store.BoundPods(r.Context(), k.Tenant, pods.Binding{Kind: pods.KindSecret, Owner: k.Owner, ID: k.ID}, false)
	return append([]pods.ID{}, ids...), err
}

// secretValue is the answer of get_secret_value.
type secretValue struct {
	SecretValue string `json:"secret_value"`
}

// getSecretValue reveals the value of a secret, unless it was made to be used by
// pods only.
func (s *server) getSecretValue(r *request) (answer, error) {
	x := r.secret
	if !x.Readable {
		if err := s.Store.AddSecretEvents(r.Context(), x.SecretKey, s.secretEvent(r, pods.SecretReadDenied)); err != nil {
			return answer{}, err
		}
		return answer{}, pods.Errorf(pods.Forbidden, "Secret '%s' is not readable. Pods can use it, but nobody can see its value.", x.ID)
	}
	// Noted before it is revealed: no value leaves without a trace.
	if err := s.Store.AddSecretEvents(r.Context(), x.SecretKey, s.secretEvent(r, pods.SecretRead)); err != nil {
		return answer{}, err
	}
	value, err := s.Store.SecretValue(r.Context(), x.SecretKey, x.UID)
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Secret value retrieved successfully.", result: secretValue{value}}, nil
}

// updateSecret replaces the fields that are in the body, the value among them.
func (s *server) updateSecret(r *request) (answer, error) {
	patch, err := pods.DecodeSecretPatch(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	var value *string
	if v, ok := patch.Value.Get(); ok {
		value = &v
	}
	if value != nil && !r.secret.Writable {
		if err := s.Store.AddSecretEvents(r.Context(), r.secret.SecretKey, s.secretEvent(r, pods.SecretWriteDenied)); err != nil {
			return answer{}, err
		}
		return answer{}, pods.Errorf(pods.Forbidden, "Secret '%s' is not writable. Delete it and create it again to give it another value.", r.secret.ID)
	}
	x, err := s.changeSecret(r, value, func(x *pods.Secret) (err error) {
		was := *x
		if *x, err = patch.Apply(*x); err != nil {
			return err
		}
		if value == nil && x.Description == was.Description && x.Readable == was.Readable && x.Writable == was.Writable {
			return errNoChange
		}
		return nil
	})
	if errors.Is(err, errNoChange) {
		return answer{
			message: "Incoming data made no changes to secret. Is incoming data equal to current data?",
			result:  pods.NewSecretView(x), status: failure,
		}, nil
	}
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Secret updated successfully.", result: pods.NewSecretView(x)}, nil
}

// deleteSecret removes a secret. Pods that use it go on running, but can't be
// started again.
func (s *server) deleteSecret(r *request) (answer, error) {
	used, err := s.usersOfSecret(r)
	if err != nil {
		return answer{}, err
	}
	err = s.Store.DeleteSecret(r.Context(), r.secret.SecretKey, r.secret.UID, s.secretEvent(r, pods.SecretDeleted))
	if err != nil {
		return answer{}, err
	}
	a := answer{message: "Secret successfully deleted.", result: ""}
	if len(used) > 0 {
		a.metadata = map[string]any{"used_by": used}
		a.warn("Pods use it. They can't be started again unless their secret_map is changed.")
	}
	return a, nil
}

// getSecretPermissions answers with who may do what on a secret.
func (s *server) getSecretPermissions(r *request) (answer, error) {
	return answer{message: "Secret permissions retrieved successfully.", result: permissions{r.secret.Permissions.List()}}, nil
}

// setSecretPermission gives a user a level on a secret.
func (s *server) setSecretPermission(r *request) (answer, error) {
	g, err := pods.DecodeGrant(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	admin := s.Identity.Admin(r.Context(), r.who)
	x, err := s.changeSecret(r, nil, func(x *pods.Secret) (err error) {
		x.Permissions, err = x.Permissions.SetLevel(pods.KindSecret, g, admin)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Secret permissions updated successfully.", result: permissions{x.Permissions.List()}}, nil
}

// deleteSecretPermission takes a user's entry away.
func (s *server) deleteSecretPermission(r *request) (answer, error) {
	x, err := s.changeSecret(r, nil, func(x *pods.Secret) (err error) {
		x.Permissions, err = x.Permissions.Remove(pods.KindSecret, r.param("user"))
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Secret permission deleted successfully.", result: permissions{x.Permissions.List()}}, nil
}

// changeSecret is change for the secret that the path names, with another value
// unless that is nil.
func (s *server) changeSecret(r *request, value *string, edit func(*pods.Secret) error) (pods.Secret, error) {
	current := r.secret
	for range maxTries {
		edited := current
		if err := edit(&edited); err != nil {
			return current, err
		}
		edited.UpdatedAt = s.Now().UTC()
		stored, err := s.Store.UpdateSecret(r.Context(), edited, value, s.secretEvent(r, pods.SecretUpdated))
		switch pods.ErrorCode(err) {
		case "":
			return stored, nil
		case pods.NotFound:
			return pods.Secret{}, secretNotFound(r.param("secret_id"))
		case pods.Conflict:
		default:
			return pods.Secret{}, err
		}
		if current, err = s.permittedSecret(r.Context(), r, r.secret.Name()); err != nil {
			return pods.Secret{}, err
		}
		if current.UID != r.secret.UID { // deleted, and its name taken by another
			return pods.Secret{}, secretNotFound(r.param("secret_id"))
		}
	}
	return pods.Secret{}, pods.Errorf(pods.Conflict,
		"The secret was changed by others at the same time. Please look at it and try again.")
}

// permittedSecret returns a secret on which the caller holds what the operation
// needs. The id is "owner:name", or a name alone: that of the caller's own secret
// or, if there is none, of the only one of that name that others share.
func (s *server) permittedSecret(ctx context.Context, r *request, id string) (pods.Secret, error) {
	x, err := s.findSecret(ctx, r, id)
	if pods.ErrorCode(err) == pods.NotFound {
		return pods.Secret{}, secretNotFound(id)
	}
	if err != nil {
		return pods.Secret{}, err
	}
	admin := func() bool { return s.Identity.Admin(ctx, r.who) }
	if err := permit(r.op, x.Permissions.Level(r.who.User), admin, secretNotFound(id)); err != nil {
		return pods.Secret{}, err
	}
	return x, nil
}

func (s *server) findSecret(ctx context.Context, r *request, id string) (pods.Secret, error) {
	k := pods.SecretKey{Tenant: r.who.Tenant.ID, Owner: r.who.User, ID: id}
	owner, name, named := strings.Cut(id, ":")
	if named {
		k.Owner, k.ID = owner, name
	}
	x, err := s.Store.Secret(ctx, k)
	if named || pods.ErrorCode(err) != pods.NotFound {
		return x, err
	}
	return s.findShared(ctx, r, k)
}

// findShared finds a secret of others by its name.
func (s *server) findShared(ctx context.Context, r *request, k pods.SecretKey) (pods.Secret, error) {
	shared, err := s.Store.Secrets(ctx, pods.SecretQuery{Tenant: k.Tenant, User: k.Owner, ID: k.ID})
	if err == nil && len(shared) == 0 && s.Identity.Admin(ctx, r.who) {
		shared, err = s.Store.Secrets(ctx, pods.SecretQuery{Tenant: k.Tenant, ID: k.ID})
	}
	switch {
	case err != nil:
		return pods.Secret{}, err
	case len(shared) == 0:
		return pods.Secret{}, k.NotFound()
	case len(shared) > 1:
		return pods.Secret{}, pods.Errorf(pods.Conflict,
			"Several users share a secret '%[1]s' with you. Name one as 'owner:%[1]s'; sk_secret_name in the list has this form.", k.ID)
	}
	return shared[0], nil
}

// secretNotFound says that there is no such secret.
func secretNotFound(id string) error {
	return pods.Errorf(pods.NotFound, "Secret with identifier secret_id: '%s' not found", shorten(id))
}
