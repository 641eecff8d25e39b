package api

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// listTemplates answers with the templates the caller may read; in admin mode
// with all of the tenant. The parameters limit, offset and search are optional.
func (s *server) listTemplates(r *request) (answer, error) {
	list, metadata, err := s.visibleTemplates(r)
	if err != nil {
		return answer{}, err
	}
	views := make([]pods.TemplateView, 0, len(list))
	for _, t := range list {
		views = append(views, pods.NewTemplateView(t))
	}
	return answer{message: "Templates retrieved successfully.", result: views, metadata: metadata}, nil
}

// visibleTemplates returns a page of the templates the caller may see, and what
// the metadata say about it.
func (s *server) visibleTemplates(r *request) ([]pods.Template, map[string]any, error) {
	q, err := r.listQuery()
	if err != nil {
		return nil, nil, err
	}
	query := pods.TemplateQuery{Tenant: r.who.Tenant.ID, User: r.who.User}
	if r.adminMode {
		query.User = ""
	}
	list, err := s.Store.Templates(r.Context(), query)
	if err != nil {
		return nil, nil, err
	}
	list = pageOf(q, list, func(t pods.Template) []string {
		return append([]string{t.ID, t.Description}, t.Metatags...)
	})
	metadata := map[string]any{}
	if r.adminMode {
		own := []string{}
		for _, t := range list {
			if t.Level(r.who).Includes(pods.LevelRead) {
				own = append(own, t.ID)
			}
		}
		metadata["admin_context"] = newAdminContext("templates", own)
	}
	return list, metadata, nil
}

// getTemplate answers with one template.
func (s *server) getTemplate(r *request) (answer, error) {
	return answer{message: "Template retrieved successfully.", result: pods.NewTemplateView(r.template)}, nil
}

// addTemplate stores a new template, without tags, that its creator owns.
func (s *server) addTemplate(r *request) (answer, error) {
	body, err := pods.DecodeNewTemplate(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	now := s.Now().UTC()
	t := pods.Template{
		ID: body.ID, UID: pods.NewUID(), Tenant: r.who.Tenant.ID, Owner: r.who.User,
		Description: body.Description, Metatags: body.Metatags, ArchiveMessage: body.ArchiveMessage,
		Permissions: pods.Permissions{r.who.User: pods.LevelAdmin}, CreatedAt: now, UpdatedAt: now,
	}
	err = s.Store.CreateTemplate(r.Context(), t)
	if pods.ErrorCode(err) == pods.Exists {
		return answer{}, pods.Errorf(pods.Exists,
			"Key (template_id)=(%s) already exists. Templates of all tenants share their ids. Choose another template_id.", t.ID)
	}
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Template added successfully.", result: pods.NewTemplateView(t)}, nil
}

// updateTemplate replaces the fields that are in the body.
func (s *server) updateTemplate(r *request) (answer, error) {
	patch, err := pods.DecodeTemplatePatch(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	t, err := s.changeTemplate(r, func(t *pods.Template) error {
		changed := patch.Apply(*t)
		if reflect.DeepEqual(changed, *t) {
			return errNoChange
		}
		*t = changed
		return nil
	})
	if errors.Is(err, errNoChange) {
		return answer{
			message: "Incoming data made no changes to template. Is incoming data equal to current data?",
			result:  pods.NewTemplateView(t), status: failure,
		}, nil
	}
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Template updated successfully.", result: pods.NewTemplateView(t)}, nil
}

// deleteTemplate removes a template with its tags. Pods that build on them go on
// running, but can't be started again.
func (s *server) deleteTemplate(r *request) (answer, error) {
	uses, err := s.Store.DeleteTemplate(r.Context(), r.template.ID, r.template.UID)
	if pods.ErrorCode(err) == pods.NotFound {
		return answer{}, templateNotFound(r.template.ID)
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{message: "Template and associated Template Tags successfully deleted.", result: ""}
	a.warn(brokenUses(uses)...)
	return a, nil
}

// brokenUses warns of what has lost its template.
func brokenUses(u pods.TemplateUses) []string {
	if u.None() {
		return nil
	}
	return []string{usesText(u) + " They can't be started again unless their template is changed."}
}

// usesText says what builds on a template.
func usesText(u pods.TemplateUses) string {
	return fmt.Sprintf("%d pods and %d template tags build on it.", u.Pods, u.Tags)
}

// getTemplatePermissions answers with who may do what on a template.
func (s *server) getTemplatePermissions(r *request) (answer, error) {
	return answer{
		message: "Template permissions retrieved successfully.",
		result:  permissions{r.template.Permissions.List()},
	}, nil
}

// setTemplatePermission gives a user, or all users of some tenants, a level on a
// template.
func (s *server) setTemplatePermission(r *request) (answer, error) {
	g, err := pods.DecodeGrant(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	admin := s.administers(r.Context(), r.who, r.template)
	t, err := s.changeTemplate(r, func(t *pods.Template) (err error) {
		t.Permissions, err = t.Permissions.SetLevel(pods.KindTemplate, g, admin)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Template permissions updated successfully.", result: permissions{t.Permissions.List()}}, nil
}

// deleteTemplatePermission takes an entry away.
func (s *server) deleteTemplatePermission(r *request) (answer, error) {
	user := r.param("user")
	t, err := s.changeTemplate(r, func(t *pods.Template) (err error) {
		t.Permissions, err = t.Permissions.Remove(pods.KindTemplate, user)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Template permission deleted successfully.", result: permissions{t.Permissions.List()}}, nil
}

// changeTemplate is [server.change] for the caller's template.
func (s *server) changeTemplate(r *request, edit func(*pods.Template) error) (pods.Template, error) {
	current := r.template
	for range maxTries {
		edited := current
		if err := edit(&edited); err != nil {
			return current, err
		}
		edited.UpdatedAt = s.Now().UTC()
		stored, err := s.Store.UpdateTemplate(r.Context(), edited)
		switch pods.ErrorCode(err) {
		case "":
			return stored, nil
		case pods.NotFound:
			return pods.Template{}, templateNotFound(current.ID)
		case pods.Conflict:
		default:
			return pods.Template{}, err
		}
		if current, err = s.permittedTemplate(r.Context(), r, r.template.ID); err != nil {
			return pods.Template{}, err
		}
		if current.UID != r.template.UID { // deleted, and its id taken by another
			return pods.Template{}, templateNotFound(r.template.ID)
		}
	}
	return pods.Template{}, pods.Errorf(pods.Conflict,
		"The template was changed by others at the same time. Please look at it and try again.")
}

// permittedTemplate returns a template on which the caller holds what the
// operation needs.
func (s *server) permittedTemplate(ctx context.Context, r *request, id string) (pods.Template, error) {
	t, err := s.Store.Template(ctx, id)
	if pods.ErrorCode(err) == pods.NotFound {
		return pods.Template{}, templateNotFound(id)
	}
	if err != nil {
		return pods.Template{}, err
	}
	admin := func() bool { return s.administers(ctx, r.who, t) }
	if err := permit(r.op, t.Level(r.who), admin, templateNotFound(id)); err != nil {
		return pods.Template{}, err
	}
	return t, nil
}

func templateNotFound(id string) error {
	return pods.Errorf(pods.NotFound, "Template with identifier template_id: '%s' not found", id)
}

// administers reports whether the caller's role is about a template: admins of a
// tenant hold everything on its templates, those of the site on the built-in
// ones, none on the templates of other tenants.
func (s *server) administers(ctx context.Context, who pods.Principal, t pods.Template) bool {
	if t.Tenant == "" {
		return s.siteAdmin(ctx, who)
	}
	return t.Tenant == who.Tenant.ID && s.Identity.Admin(ctx, who)
}

// siteAdmin reports whether the caller may change what all tenants share.
func (s *server) siteAdmin(ctx context.Context, who pods.Principal) bool {
	trusted := s.Settings.AdminTenants
	return (len(trusted) == 0 || slices.Contains(trusted, who.Tenant.ID)) && s.Identity.Admin(ctx, who)
}
