package api

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// listPods answers with the pods the caller may read; in admin mode with all of
// the tenant. The parameters limit, offset and search are optional.
func (s *server) listPods(r *request) (answer, error) {
	q, err := r.listQuery()
	if err != nil {
		return answer{}, err
	}
	l, err := r.layering()
	if err != nil {
		return answer{}, err
	}
	query := pods.PodQuery{Tenant: r.who.Tenant.ID, User: r.who.User}
	query.Limit, query.Offset, q = q.storePage()
	if r.adminMode {
		query.User = ""
	}
	list, err := s.Store.Pods(r.Context(), query)
	if err != nil {
		return answer{}, err
	}
	list = pageOf(q, list, podTexts)

	a := answer{message: "Pods retrieved successfully.", metadata: map[string]any{}}
	l.note(a.metadata)
	views, warnings, err := s.views(r.Context(), l, r.who.Tenant, list)
	if err != nil {
		return answer{}, err
	}
	a.result = views
	if len(warnings) > 0 {
		a.message = "Some pods failed validation. Please check metadata.warnings for details."
		a.warn(warnings...)
	}
	if r.adminMode {
		a.metadata["admin_context"] = newAdminContext("pods", readable(r.who.User, list))
	}
	return a, nil
}

// podTexts are what people call a pod by.
func podTexts(p pods.Pod) []string {
	return []string{
		string(p.ID), p.Definition.Description.Or(""), p.Definition.Image.Or(""), p.Definition.Template.Or(""),
	}
}

// adminContext tells a client which rows of a list only the admin role shows.
type adminContext struct {
	AdminMode         bool     `json:"admin_mode"`
	UserAccessibleIDs []string `json:"user_accessible_ids"`
	Msg               string   `json:"msg"`
}

// newAdminContext is about a list of objects, of which the caller may read those
// with some ids without the role.
func newAdminContext(objects string, ids []string) adminContext {
	return adminContext{
		AdminMode: true, UserAccessibleIDs: ids,
		Msg: "Admin mode: all " + objects + " of the tenant are shown, not only your own.",
	}
}

// readable returns the ids of the pods that a user may read.
func readable(user string, list []pods.Pod) []string {
	ids := []string{}
	for _, p := range list {
		if p.Permissions.Level(user).Includes(pods.LevelRead) {
			ids = append(ids, string(p.ID))
		}
	}
	return ids
}

// getPod answers with one pod.
func (s *server) getPod(r *request) (answer, error) {
	const message = "Pod retrieved successfully."
	l, err := r.layering()
	if err != nil {
		return answer{}, err
	}
	if l == layerOwn {
		return s.podAnswer(r, r.pod, message), nil
	}
	e, err := s.layered(r.Context(), s.Store, l, r.who.Tenant, r.pod)
	if err != nil {
		return answer{}, invalid(err)
	}
	a := answer{message: message, result: s.view(r.pod, e), metadata: map[string]any{}}
	l.note(a.metadata)
	return a, nil
}

// createPod checks a new pod from every side and stores it; the reconciler
// starts it.
func (s *server) createPod(r *request) (answer, error) {
	body, err := pods.DecodeNewPod(r.body, s.Settings)
	if err != nil {
		return answer{}, invalid(err)
	}
	traceOf(r.Request).podID = body.ID
	p := s.newPod(r.who, body)
	notes, err := s.settle(r.Context(), r.who, &p.Definition, body.Older)
	if err != nil {
		return answer{}, invalid(err)
	}
	if p.Definition, err = s.claimed(r, p, pods.Definition{}, p.Definition); err != nil {
		return answer{}, err
	}
	if err := s.create(r, p); err != nil {
		return answer{}, err
	}
	a := s.podAnswer(r, p, "Pod created successfully.")
	a.warn(notes...)
	return a, nil
}

// create checks a new pod and stores it, with credentials made for it.
func (s *server) create(r *request, p pods.Pod) error {
	creds := pods.NewCredentials(p.ID)
	if err := s.check(r.Context(), r.who.Tenant, p, creds); err != nil {
		return err
	}
	created := s.event("Pod object created by '%s'", r.who.User)
	err := s.Store.CreatePod(r.Context(), p, creds, created)
	if pods.ErrorCode(err) == pods.Exists {
		return pods.Errorf(pods.Exists,
			"Key (pod_id)=(%s) already exists. Choose another pod_id, or delete that pod first.", p.ID)
	}
	if err != nil {
		return err
	}
	s.Wake(p.Key)
	return nil
}

// newPod returns the pod as it is stored first: owned by its creator, and
// REQUESTED unless it shall stay off.
func (s *server) newPod(who pods.Principal, body pods.NewPod) pods.Pod {
	now := s.Now().UTC()
	p := pods.Pod{
		Key:         pods.Key{Tenant: who.Tenant.ID, ID: body.ID},
		UID:         pods.NewUID(),
		Site:        s.Settings.Site,
		Owner:       who.User,
		Definition:  body.Definition,
		Requested:   body.Requested,
		Permissions: pods.Permissions{who.User: pods.LevelAdmin},
		CreatedAt:   now,
		UpdatedAt:   now,
		State:       pods.State{Status: pods.StatusRequested, Since: now},
	}
	switch p.Requested {
	case pods.Off:
		p.State.Status = pods.StatusStopped
	case pods.On, pods.Restart: // there is nothing to stop first
		p.Requested = pods.On
	}
	return p
}

// updatePod replaces the fields that are in the body. A running pod goes on as
// it is until it is restarted.
func (s *server) updatePod(r *request) (answer, error) {
	patch, err := pods.DecodePodPatch(r.body, s.Settings)
	if err != nil {
		return answer{}, invalid(err)
	}
	notes, err := s.pinPatch(r, &patch)
	if err != nil {
		return answer{}, invalid(err)
	}
	p, err := s.change(r, func(p *pods.Pod) (pods.Event, error) { return s.applyPatch(r, p, patch) })
	if errors.Is(err, errNoChange) {
		a := s.podAnswer(r, p, "Incoming data made no changes to pod. Is incoming data equal to current data?")
		a.status = failure
		return a, nil
	}
	if err != nil {
		return answer{}, err
	}
	a := s.podAnswer(r, p, "Pod updated successfully.")
	a.metadata["note"] = []string{
		"Pod updated. A pod that is running keeps its old definition until it is restarted.",
		fmt.Sprintf("Restart it with GET /v3/pods/%s/restart to apply the changes.", p.ID),
	}
	a.warn(notes...)
	return a, nil
}

// pinPatch pins the template that a patch names. One that the pod has already
// stays as it is: clients send back what they were shown, and whoever may use it
// no longer may still change the rest of the pod.
func (s *server) pinPatch(r *request, patch *pods.PodPatch) (notes []string, err error) {
	if patch.Definition.Template == r.pod.Definition.Template {
		return nil, nil
	}
	return s.pin(r.Context(), r.who, &patch.Definition)
}

// applyPatch changes p as the patch says and returns the line for its action
// log. A new wish for its status needs no look at the definition: a pod whose
// definition has become invalid can still be stopped.
func (s *server) applyPatch(r *request, p *pods.Pod, patch pods.PodPatch) (pods.Event, error) {
	old := *p
	var err error
	if patch.Definition, err = s.claimed(r, old, old.Definition, patch.Definition); err != nil {
		return pods.Event{}, err
	}
	p.Definition = patch.Apply(p.Definition)
	if patch.Requested != nil {
		p.Requested = *patch.Requested
	}
	if reflect.DeepEqual(old.Definition, p.Definition) && old.Requested == p.Requested {
		return pods.Event{}, errNoChange
	}
	before, _ := s.shown(r.who.Tenant, old)
	after, _ := s.shown(r.who.Tenant, *p)
	changes := pods.Diff(before, after, old.Requested, p.Requested)
	// Beside a template, what a user sets counts even if the template gives the
	// same today.
	if len(changes) == 0 && p.Definition.Template.Or("") == "" {
		return pods.Event{}, errNoChange
	}
	if !reflect.DeepEqual(old.Definition, p.Definition) {
		if err := s.checkStored(r, *p); err != nil {
			return pods.Event{}, err
		}
	}
	p.UpdatedAt = s.Now().UTC()
	return s.event("%s", pods.UpdateText(r.who.User, changes)), nil
}

// checkStored is check for a pod that has its credentials in the store.
func (s *server) checkStored(r *request, p pods.Pod) error {
	creds, err := s.storedCredentials(r)
	if err != nil {
		return err
	}
	return s.check(r.Context(), r.who.Tenant, p, creds)
}

// deletePod removes a pod at once; the reconciler removes what is left of it in
// the cluster.
func (s *server) deletePod(r *request) (answer, error) {
	err := s.Store.DeletePod(r.Context(), r.pod.Key)
	if pods.ErrorCode(err) == pods.NotFound {
		return answer{}, podNotFound(r.pod.ID)
	}
	if err != nil {
		return answer{}, err
	}
	s.Wake(r.pod.Key)
	s.withdrawShares(r)
	return answer{message: "Pod successfully deleted.", result: ""}, nil
}

// mask stands where a caller may know that there is a password, but not which.
const mask = "********"

// shownCredentials returns the pod's credentials as far as the caller may see
// them: who can only read a pod must not get its passwords through placeholders.
func (s *server) shownCredentials(r *request) (pods.Credentials, error) {
	c, err := s.storedCredentials(r)
	if err != nil {
		return pods.Credentials{}, err
	}
	if !r.pod.Permissions.Level(r.who.User).Includes(pods.LevelUser) && !s.Identity.Admin(r.Context(), r.who) {
		c.UserPassword, c.AdminPassword = mask, mask
	}
	return c, nil
}

// storedCredentials returns the credentials that were made for the pod.
func (s *server) storedCredentials(r *request) (pods.Credentials, error) {
	c, err := s.Store.Credentials(r.Context(), r.pod.Key)
	return c, gone(err, r.pod.ID)
}

// credentials is the part of a pod's credentials that is shown.
type credentials struct {
	UserUsername string `json:"user_username"`
	UserPassword string `json:"user_password"`
}

// getPodCredentials answers with the generated user and password of a pod.
func (s *server) getPodCredentials(r *request) (answer, error) {
	c, err := s.storedCredentials(r)
	if err != nil {
		return answer{}, err
	}
	return answer{
		message: "The request was successful",
		result:  credentials{UserUsername: c.UserUsername, UserPassword: c.UserPassword},
	}, nil
}
