package importer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// The rows of the source. Columns that a release does not have stay zero.

// common is what most tables have.
type common struct {
	TenantID    string `json:"tenant_id"`
	Description string `json:"description"`
	Permissions texts  `json:"permissions"`
	CreationTS  moment `json:"creation_ts"`
	UpdateTS    moment `json:"update_ts"`
}

// times returns when the object was made and changed.
func (c common) times(now time.Time) (created, updated time.Time) {
	created = cmp.Or(c.CreationTS.Time, now)
	return created, cmp.Or(c.UpdateTS.Time, created)
}

type podRow struct {
	common
	PodID                string `json:"pod_id"`
	Image                string `json:"image"`
	Template             string `json:"template"`
	Command              texts  `json:"command"`
	Arguments            texts  `json:"arguments"`
	EnvironmentVariables fields `json:"environment_variables"`
	SecretMap            fields `json:"secret_map"`
	VolumeMounts         fields `json:"volume_mounts"`
	TemplateOverrides    fields `json:"template_overrides"`
	Healthchecks         fields `json:"healthchecks"`
	Networking           fields `json:"networking"`
	Resources            fields `json:"resources"`
	StatusRequested      string `json:"status_requested"`
	TimeToStopDefault    *int   `json:"time_to_stop_default"`
	TimeToStopInstance   *int   `json:"time_to_stop_instance"`
	ComputeQueue         string `json:"compute_queue"`
	SiteID               string `json:"site_id"`
	ActionLogs           texts  `json:"action_logs"`
	Logs                 string `json:"logs"`
	ModifiedFields       texts  `json:"modified_fields"`
}

func (r podRow) at() (string, string) { return r.TenantID, r.PodID }

type passwordRow struct {
	TenantID      string `json:"tenant_id"`
	PodID         string `json:"pod_id"`
	AdminUsername string `json:"admin_username"`
	AdminPassword string `json:"admin_password"`
	UserUsername  string `json:"user_username"`
	UserPassword  string `json:"user_password"`
}

func (r passwordRow) at() (string, string) { return r.TenantID, r.PodID }

type volumeRow struct {
	common
	VolumeID  string `json:"volume_id"`
	SizeLimit int    `json:"size_limit"`
	Size      int64  `json:"size"`
	Status    string `json:"status"`
}

func (r volumeRow) at() (string, string) { return r.TenantID, r.VolumeID }

type snapshotRow struct {
	common
	SnapshotID       string `json:"snapshot_id"`
	SourceVolumeID   string `json:"source_volume_id"`
	SourceVolumePath string `json:"source_volume_path"`
	DestinationPath  string `json:"destination_path"`
	SizeLimit        int    `json:"size_limit"`
	Size             int64  `json:"size"`
	Status           string `json:"status"`
	Cron             string `json:"cron"`
	RetentionPolicy  string `json:"retention_policy"`
}

func (r snapshotRow) at() (string, string) { return r.TenantID, r.SnapshotID }

type templateRow struct {
	common
	TemplateID     string `json:"template_id"`
	Metatags       texts  `json:"metatags"`
	ArchiveMessage string `json:"archive_message"`
}

func (r templateRow) at() (string, string) { return r.TenantID, r.TemplateID }

type tagRow struct {
	common
	TemplateID     string `json:"template_id"`
	Kind           string `json:"kind"` // "", "pod" or "stack"
	PodDefinition  fields `json:"pod_definition"`
	CommitMessage  string `json:"commit_message"`
	Tag            string `json:"tag"`
	TagTimestamp   string `json:"tag_timestamp"` // "latest@2024-06-10-17:20:27"
	ArchiveMessage string `json:"archive_message"`
	AddedBy        string `json:"added_by"`
}

// at names the version of the tag.
func (r tagRow) at() (string, string) { return r.TenantID, r.TemplateID + ":" + r.TagTimestamp }

type imageRow struct {
	common
	Image   string `json:"image"`
	Tenants texts  `json:"tenants"`
	AddedBy string `json:"added_by"`
}

func (r imageRow) at() (string, string) { return "", r.Image }

type secretRow struct {
	common
	SecretID string `json:"secret_id"`
	AddedBy  string `json:"added_by"`
}

func (r secretRow) at() (string, string) { return r.TenantID, r.SecretID }

// fields is an object whose fields depend on the release.
type fields map[string]any

// moment is a time without a zone, in UTC, or with one. Zero: null.
type moment struct{ time.Time }

// UnmarshalJSON reads what Postgres makes of a timestamp.
func (m *moment) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil || text == nil {
		return err
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999", "2006-01-02T15:04:05.999999Z07:00"} {
		if t, err := time.Parse(layout, *text); err == nil {
			m.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("%q is not a timestamp", *text)
}

// texts is a list of texts, or one. Nil: null.
type texts []string

// UnmarshalJSON reads a list, a text or null.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil && string(b) != "null" {
		*t = texts{one}
		return nil
	}
	var many []string
	err := json.Unmarshal(b, &many)
	*t = many
	return err
}
