package api

import "github.com/tapis-project/podway/controlplane/internal/pods"

// The models of what clients send and get about volumes, snapshots, secrets and
// files; see openapimodels.go.

type newVolume struct {
	VolumeID    string `json:"volume_id"`
	Description string `json:"description,omitzero"`
	SizeLimit   int    `json:"size_limit,omitzero"`
}

type updateVolumeBody struct {
	Description string `json:"description,omitzero" null:"true"`
	SizeLimit   int    `json:"size_limit,omitzero" null:"true"`
}

type newSnapshot struct {
	SnapshotID       string `json:"snapshot_id"`
	SourceVolumeID   string `json:"source_volume_id"`
	SourceVolumePath string `json:"source_volume_path"`
	DestinationPath  string `json:"destination_path,omitzero"`
	Description      string `json:"description,omitzero"`
	SizeLimit        int    `json:"size_limit,omitzero"`
	Cron             string `json:"cron,omitzero"`
	RetentionPolicy  string `json:"retention_policy,omitzero"`
}

type updateSnapshotBody struct {
	Description     string `json:"description,omitzero" null:"true"`
	SizeLimit       int    `json:"size_limit,omitzero" null:"true"`
	Cron            string `json:"cron,omitzero" null:"true"`
	RetentionPolicy string `json:"retention_policy,omitzero" null:"true"`
}

type newSecret struct {
	SecretID    string           `json:"secret_id"`
	SecretValue string           `json:"secret_value"`
	Description string           `json:"description,omitzero"`
	Scope       pods.SecretScope `json:"scope,omitzero"`
	PodID       string           `json:"pod_id,omitzero" null:"true"`
	Readable    bool             `json:"readable,omitzero"`
	Writable    bool             `json:"writable,omitzero"`
}

type updateSecretBody struct {
	SecretValue string `json:"secret_value,omitzero" null:"true"`
	Description string `json:"description,omitzero" null:"true"`
	Readable    bool   `json:"readable,omitzero" null:"true"`
	Writable    bool   `json:"writable,omitzero" null:"true"`
}

type fileForm struct {
	File fileContent `json:"file"`
}

type podUploadForm struct {
	File     fileContent `json:"file"`
	DestPath string      `json:"dest_path"`
}

// volumeMount is pods.VolumeMount without what is not shown.
type volumeMount struct {
	Type      string `json:"type"`
	MountPath string `json:"mount_path"`
	SourceID  string `json:"source_id,omitempty"`
	SubPath   string `json:"sub_path"`
	ReadOnly  bool   `json:"read_only,omitempty"`

	ConfigContent     string `json:"config_content,omitempty"`
	ConfigFilename    string `json:"config_filename,omitempty"`
	ConfigPermissions string `json:"config_permissions,omitempty"`
	ConfigUpdateMode  string `json:"config_update_mode,omitempty"`
}

// newVolumeMount is a mount as it is sent: null removes one.
type newVolumeMount struct{ volumeMount }

// mountOverride is pods.MountOverride without what is not shown.
type mountOverride struct {
	Type     pods.Opt[string] `json:"type,omitzero"`
	SourceID pods.Opt[string] `json:"source_id,omitzero"`
	SubPath  pods.Opt[string] `json:"sub_path,omitzero"`
	ReadOnly pods.Opt[bool]   `json:"read_only,omitzero"`

	ConfigContent     pods.Opt[string] `json:"config_content,omitzero"`
	ConfigFilename    pods.Opt[string] `json:"config_filename,omitzero"`
	ConfigPermissions pods.Opt[string] `json:"config_permissions,omitzero"`
	ConfigUpdateMode  pods.Opt[string] `json:"config_update_mode,omitzero"`
}
