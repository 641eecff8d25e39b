package api

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Handlers that work alike for volumes and snapshots are made for one of the two.

// titles begin the messages about volumes and snapshots.
var titles = map[pods.Kind]string{pods.KindVolume: "Volume", pods.KindSnapshot: "Snapshot"}

// volumeView renders a volume or snapshot.
func volumeView(v pods.Volume) any {
	if v.Kind == pods.KindSnapshot {
		return pods.NewSnapshotView(v)
	}
	return pods.NewVolumeView(v)
}

// volumeAnswer answers with a volume, and what there is to know about it.
func volumeAnswer(v pods.Volume, message string) answer {
	a := answer{message: message, result: volumeView(v), metadata: map[string]any{}}
	if v.State.Message != "" {
		a.metadata["message"] = v.State.Message
	}
	if v.Kind == pods.KindSnapshot && v.Unfinished() {
		a.metadata["progress"] = map[string]any{"copied_bytes": v.State.Copied}
	}
	if v.OverLimit() {
		a.warn(fmt.Sprintf("It holds more than its size_limit of %d MB. Nothing can be uploaded to it.", v.SizeLimit))
	}
	return a
}

// listVolumes answers with the volumes the caller may read; in admin mode with all
// of the tenant. The parameters limit, offset and search are optional.
func listVolumes(k pods.Kind) func(*server, *request) (answer, error) {
	return func(s *server, r *request) (answer, error) {
		list, metadata, err := s.visibleVolumes(r, k)
		if err != nil {
			return answer{}, err
		}
		a := answer{message: titles[k] + "s retrieved successfully.", metadata: metadata}
		if k == pods.KindSnapshot {
			a.result = viewsOf(list, pods.NewSnapshotView)
		} else {
			a.result = viewsOf(list, pods.NewVolumeView)
		}
		return a, nil
	}
}

// viewsOf renders a list, which is never null.
func viewsOf[T, V any](list []T, render func(T) V) []V {
	views := make([]V, 0, len(list))
	for _, entry := range list {
		views = append(views, render(entry))
	}
	return views
}

// visibleVolumes returns a page of the volumes the caller may see, and what the
// metadata say about it.
func (s *server) visibleVolumes(r *request, k pods.Kind) ([]pods.Volume, map[string]any, error) {
	q, err := r.listQuery()
	if err != nil {
		return nil, nil, err
	}
	query := pods.VolumeQuery{Kind: k, Tenant: r.who.Tenant.ID, User: r.who.User, Limit: q.storeLimit()}
	if r.adminMode {
		query.User = ""
	}
	list, err := s.Store.Volumes(r.Context(), query)
	if err != nil {
		return nil, nil, err
	}
	list = pageOf(q, list, func(v pods.Volume) []string { return []string{v.ID, v.Description} })
	metadata := map[string]any{}
	if r.adminMode {
		own := []string{}
		for _, v := range list {
			if v.Permissions.Level(r.who.User).Includes(pods.LevelRead) {
				own = append(own, v.ID)
			}
		}
		metadata["admin_context"] = newAdminContext(string(k)+"s", own)
	}
	return list, metadata, nil
}

// getVolume answers with one volume.
func getVolume(k pods.Kind) func(*server, *request) (answer, error) {
	return func(_ *server, r *request) (answer, error) {
		return volumeAnswer(r.volume, titles[k]+" retrieved successfully."), nil
	}
}

// createVolume makes an empty volume that its creator owns.
func (s *server) createVolume(r *request) (answer, error) {
	body, err := pods.DecodeNewVolume(r.body, s.Settings)
	if err != nil {
		return answer{}, invalid(err)
	}
	v := s.newVolume(r.who, pods.KindVolume, body.ID)
	v.Description, v.SizeLimit = body.Description, body.SizeLimit
	return s.makeVolume(r, v)
}

// newVolume returns a volume as it is stored first: owned by its creator, and
// without a folder.
func (s *server) newVolume(who pods.Principal, k pods.Kind, id string) pods.Volume {
	now := s.Now().UTC()
	return pods.Volume{
		VolumeKey: pods.VolumeKey{Kind: k, Tenant: who.Tenant.ID, ID: id},
		UID:       pods.NewUID(), Owner: who.User, Permissions: pods.Permissions{who.User: pods.LevelAdmin},
		Version: 1, CreatedAt: now, UpdatedAt: now,
		State: pods.VolumeState{Status: pods.StatusCreating, Version: 1},
	}
}

// makeVolume stores a new volume and has its folder made.
func (s *server) makeVolume(r *request, v pods.Volume) (answer, error) {
	err := s.Store.CreateVolume(r.Context(), v)
	if pods.ErrorCode(err) == pods.Exists {
		return answer{}, pods.Errorf(pods.Exists,
			"Key (%[1]s_id)=(%[2]s) already exists. Choose another %[1]s_id, or delete that %[1]s first.", v.Kind, v.ID)
	}
	if err != nil {
		return answer{}, err
	}
	if v, err = s.Files.Make(r.Context(), v); err != nil {
		return answer{}, err
	}
	return volumeAnswer(v, titles[v.Kind]+" created successfully."), nil
}

// updateVolume replaces the fields that are in the body.
func updateVolume(k pods.Kind) func(*server, *request) (answer, error) {
	return func(s *server, r *request) (answer, error) {
		patch, err := pods.DecodeVolumePatch(k, r.body, s.Settings)
		if err != nil {
			return answer{}, invalid(err)
		}
		v, err := s.changeVolume(r, func(v *pods.Volume) error {
			changed := patch.Apply(*v)
			if reflect.DeepEqual(changed, *v) {
				return errNoChange
			}
			*v = changed
			return nil
		})
		if errors.Is(err, errNoChange) {
			a := volumeAnswer(v, fmt.Sprintf("Incoming data made no changes to %s. Is incoming data equal to current data?", k))
			a.status = failure
			return a, nil
		}
		if err != nil {
			return answer{}, err
		}
		return volumeAnswer(v, titles[k]+" updated successfully."), nil
	}
}

// deleteVolume removes a volume that no running pod mounts.
func deleteVolume(k pods.Kind) func(*server, *request) (answer, error) {
	return func(s *server, r *request) (answer, error) {
		err := s.Files.Remove(r.Context(), r.volume)
		if pods.ErrorCode(err) == pods.NotFound {
			return answer{}, r.volume.NotFound()
		}
		if err != nil {
			return answer{}, err
		}
		return answer{message: titles[k] + " successfully deleted.", result: ""}, nil
	}
}

// getVolumePermissions answers with who may do what on a volume.
func getVolumePermissions(k pods.Kind) func(*server, *request) (answer, error) {
	return func(_ *server, r *request) (answer, error) {
		return answer{
			message: titles[k] + " permissions retrieved successfully.",
			result:  permissions{r.volume.Permissions.List()},
		}, nil
	}
}

// setVolumePermission gives a user a level on a volume.
func setVolumePermission(k pods.Kind) func(*server, *request) (answer, error) {
	return func(s *server, r *request) (answer, error) {
		g, err := pods.DecodeGrant(r.body)
		if err != nil {
			return answer{}, invalid(err)
		}
		admin := s.Identity.Admin(r.Context(), r.who)
		v, err := s.changeVolume(r, func(v *pods.Volume) (err error) {
			v.Permissions, err = v.Permissions.SetLevel(k, g, admin)
			return err
		})
		if err != nil {
			return answer{}, err
		}
		return answer{message: titles[k] + " permissions updated successfully.", result: permissions{v.Permissions.List()}}, nil
	}
}

// deleteVolumePermission takes a user's entry away.
func deleteVolumePermission(k pods.Kind) func(*server, *request) (answer, error) {
	return func(s *server, r *request) (answer, error) {
		v, err := s.changeVolume(r, func(v *pods.Volume) (err error) {
			v.Permissions, err = v.Permissions.Remove(k, r.param("user"))
			return err
		})
		if err != nil {
			return answer{}, err
		}
		return answer{message: titles[k] + " permission deleted successfully.", result: permissions{v.Permissions.List()}}, nil
	}
}

// changeVolume is change for the volume that the path names.
func (s *server) changeVolume(r *request, edit func(*pods.Volume) error) (pods.Volume, error) {
	current := r.volume
	for range maxTries {
		edited := current
		if err := edit(&edited); err != nil {
			return current, err
		}
		edited.UpdatedAt = s.Now().UTC()
		stored, err := s.Store.UpdateVolume(r.Context(), edited)
		switch pods.ErrorCode(err) {
		case "":
			return stored, nil
		case pods.NotFound:
			return pods.Volume{}, current.NotFound()
		case pods.Conflict:
		default:
			return pods.Volume{}, err
		}
		if current, err = s.permittedVolume(r.Context(), r, r.volume.VolumeKey); err != nil {
			return pods.Volume{}, err
		}
		if current.UID != r.volume.UID { // deleted, and its id taken by another
			return pods.Volume{}, current.NotFound()
		}
	}
	return pods.Volume{}, pods.Errorf(pods.Conflict,
		"The %s was changed by others at the same time. Please look at it and try again.", r.volume.Kind)
}

// permittedVolume returns a volume on which the caller holds what the operation
// needs.
func (s *server) permittedVolume(ctx context.Context, r *request, k pods.VolumeKey) (pods.Volume, error) {
	v, err := s.Store.Volume(ctx, k)
	if err != nil {
		return pods.Volume{}, err // NotFound has the text that clients know
	}
	admin := func() bool { return s.Identity.Admin(ctx, r.who) }
	if err := permit(r.op, v.Permissions.Level(r.who.User), admin, k.NotFound()); err != nil {
		return pods.Volume{}, err
	}
	return v, nil
}

// volumeKey returns the key of a volume in the caller's tenant.
func (r *request) volumeKey(k pods.Kind, id string) pods.VolumeKey {
	return pods.VolumeKey{Kind: k, Tenant: r.who.Tenant.ID, ID: id}
}
