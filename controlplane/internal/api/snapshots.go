package api

import (
	"context"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// createSnapshot copies a part of a volume. A large copy goes on after the answer,
// which then shows the status CREATING.
func (s *server) createSnapshot(r *request) (answer, error) {
	body, err := pods.DecodeNewSnapshot(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	if err := s.checkSource(r, body); err != nil {
		return answer{}, err
	}
	v := s.newVolume(r.who, pods.KindSnapshot, body.ID)
	v.Description, v.SizeLimit = body.Description, body.SizeLimit
	v.Source = &pods.SnapshotSource{
		Volume: body.SourceVolume, Path: body.SourcePath, Destination: body.Destination,
		Cron: body.Cron, RetentionPolicy: body.RetentionPolicy,
	}
	return s.makeVolume(r, v)
}

// checkSource reports whether the caller may copy what a snapshot shall be made
// of, and whether it is there.
func (s *server) checkSource(r *request, n pods.NewSnapshot) error {
	source, err := s.sourceVolume(r.Context(), r, n.SourceVolume)
	if err != nil {
		return err
	}
	path, err := pods.ParsePath(n.SourcePath)
	if err != nil {
		return invalid(err)
	}
	info, err := s.Files.Stat(r.Context(), source, path)
	if pods.ErrorCode(err) == pods.NotFound {
		return invalidf("source_volume_path: There is no file or folder '%s' in volume %s.", shorten(n.SourcePath), source.ID)
	}
	if err != nil {
		return err
	}
	if !info.Mode.IsDir() && pods.ShownPath(n.Destination) == "/" {
		return invalidf("destination_path: destination_path must be set if source_volume_path is a file so we can save to a proper path.")
	}
	return nil
}

// sourceVolume returns the volume that a snapshot shall be made of. To a caller
// who may not even read it, it is not there.
func (s *server) sourceVolume(ctx context.Context, r *request, id string) (pods.Volume, error) {
	v, err := s.Store.Volume(ctx, r.volumeKey(pods.KindVolume, id))
	if err != nil && pods.ErrorCode(err) != pods.NotFound {
		return pods.Volume{}, err
	}
	level := v.Permissions.Level(r.who.User)
	switch {
	case err == nil && (level.Includes(pods.LevelUser) || s.Identity.Admin(ctx, r.who)):
		return v, nil
	case err == nil && level.Includes(pods.LevelRead):
		return pods.Volume{}, invalidf("source_volume_id: User does not have permission to use source_volume_id. source_volume_id: %s.", id)
	default:
		return pods.Volume{}, invalidf("source_volume_id: source_volume_id must be a valid volume_id. Could not find volume_id: %s.", shorten(id))
	}
}
