package pods

// VolumeView is a volume as the API shows it. Make one with [NewVolumeView].
type VolumeView struct {
	VolumeID    string    `json:"volume_id"`
	Description string    `json:"description"`
	SizeLimit   int       `json:"size_limit"` // MB
	Size        int64     `json:"size"`       // MB
	Status      Status    `json:"status"`
	CreationTS  Timestamp `json:"creation_ts"`
	UpdateTS    Timestamp `json:"update_ts"`
}

// NewVolumeView renders a volume.
func NewVolumeView(v Volume) VolumeView {
	return VolumeView{
		VolumeID: v.ID, Description: v.Description, SizeLimit: v.SizeLimit, Size: sizeMB(v.State.Size),
		Status: v.State.Status, CreationTS: At(v.CreatedAt), UpdateTS: At(v.UpdatedAt),
	}
}

// SnapshotView is a snapshot as the API shows it. Make one with
// [NewSnapshotView].
type SnapshotView struct {
	SnapshotID       string    `json:"snapshot_id"`
	SourceVolumeID   string    `json:"source_volume_id"`
	SourceVolumePath string    `json:"source_volume_path"`
	DestinationPath  string    `json:"destination_path"`
	Description      string    `json:"description"`
	SizeLimit        int       `json:"size_limit"` // MB
	Cron             string    `json:"cron"`
	RetentionPolicy  string    `json:"retention_policy"`
	Size             int64     `json:"size"` // MB
	Status           Status    `json:"status"`
	CreationTS       Timestamp `json:"creation_ts"`
	UpdateTS         Timestamp `json:"update_ts"`
}

// NewSnapshotView renders a snapshot.
func NewSnapshotView(v Volume) SnapshotView {
	var source SnapshotSource
	if v.Source != nil {
		source = *v.Source
	}
	return SnapshotView{
		SnapshotID: v.ID, SourceVolumeID: source.Volume, SourceVolumePath: source.Path,
		DestinationPath: source.Destination, Description: v.Description, SizeLimit: v.SizeLimit,
		Cron: source.Cron, RetentionPolicy: source.RetentionPolicy, Size: sizeMB(v.State.Size),
		Status: v.State.Status, CreationTS: At(v.CreatedAt), UpdateTS: At(v.UpdatedAt),
	}
}

// UsageView is a measured size as the API shows it. Make one with
// [NewUsageView].
type UsageView struct {
	ID          string    `json:"id"` // of this measurement
	ObjectID    string    `json:"object_id"`
	ObjectType  Kind      `json:"object_type"`
	TenantID    string    `json:"tenant_id"`
	SiteID      string    `json:"site_id"`
	SizeMB      int64     `json:"size_mb"`
	SizeLimitMB int       `json:"size_limit_mb"`
	OverLimit   bool      `json:"over_limit"`
	MeasuredAt  Timestamp `json:"measured_at"`
}

// NewUsageView renders a measured size.
func NewUsageView(u VolumeUsage, site string) UsageView {
	return UsageView{
		ID: u.ID + "@" + At(u.MeasuredAt).String(), ObjectID: u.ID, ObjectType: u.Kind, TenantID: u.Tenant, SiteID: site,
		SizeMB: sizeMB(u.Size), SizeLimitMB: u.SizeLimit,
		OverLimit: u.OverLimit(), MeasuredAt: At(u.MeasuredAt),
	}
}
