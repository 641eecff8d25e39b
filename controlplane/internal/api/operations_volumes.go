package api

import (
	"net/http"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// volumeOperations are the rows of the table that are about volumes and snapshots.
func volumeOperations() []operation {
	return []operation{
		{
			id: "list_volumes", method: http.MethodGet, pattern: "/pods/volumes",
			handle: listVolumes(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "List the volumes you may read", query: pagingParams("id and description"),
				returns: envelopeOf("VolumesResponse", []pods.VolumeView{}),
			},
		},
		{
			id: "create_volume", method: http.MethodPost, pattern: "/pods/volumes",
			body: true, changes: true, handle: (*server).createVolume,
			about: about{
				tag: tagVolumes, summary: "Create an empty volume", details: "You become its ADMIN.",
				body: newVolume{}, example: `{"volume_id":"mydata","description":"What my pods share","size_limit":2048}`,
				returns: envelopeOf("VolumeResponse", pods.VolumeView{}),
			},
		},
		{
			id: "list_volumes_usage", method: http.MethodGet, pattern: "/pods/volumes/usage",
			handle: listUsage(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "List the sizes of the volumes you may read", query: usageListParams,
				returns: envelopeOf("VolumeUsageResponse", []pods.UsageView{}),
			},
		},
		{
			id: "get_volume", method: http.MethodGet, pattern: "/pods/volumes/{volume_id}",
			kind: kindVolume, level: pods.LevelRead, handle: getVolume(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "Show a volume", returns: envelopeOf("VolumeResponse", pods.VolumeView{}),
			},
		},
		{
			id: "update_volume", method: http.MethodPut, pattern: "/pods/volumes/{volume_id}",
			kind: kindVolume, level: pods.LevelUser, body: true, changes: true, handle: updateVolume(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "Change a volume", details: unchangedNote,
				body: updateVolumeBody{}, example: `{"size_limit":4096}`, returns: envelopeOf("VolumeResponse", pods.VolumeView{}),
			},
		},
		{
			id: "delete_volume", method: http.MethodDelete, pattern: "/pods/volumes/{volume_id}",
			kind: kindVolume, level: pods.LevelAdmin, changes: true, handle: deleteVolume(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "Delete a volume with its files", details: "Refused while a pod that is not stopped mounts it.",
				returns: envelopeOf("DeleteVolumeResponse", ""), errors: []int{http.StatusConflict},
			},
		},
		{
			id: "list_volume_files", method: http.MethodGet, pattern: "/pods/volumes/{volume_id}/list",
			kind: kindVolume, level: pods.LevelRead, handle: listVolumeFiles(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "List a folder of a volume", query: []param{pathParam},
				returns: envelopeOf("FilesListResponse", []pods.FileView{}), errors: []int{http.StatusConflict},
			},
		},
		{
			id: "get_volume_contents", method: http.MethodGet, pattern: "/pods/volumes/{volume_id}/contents/{path}", rest: true,
			aliases: []string{"/pods/volumes/{volume_id}/contents"},
			kind:    kindVolume, level: pods.LevelUser, ownTimeout: true, handle: (*server).getVolumeContents,
			about: about{
				tag: tagVolumes, summary: "Download a file of a volume, or a folder as an archive", query: []param{pathParam, zipParam},
				streams: []string{"application/octet-stream", "application/zip"}, ranges: true, errors: []int{http.StatusConflict},
			},
		},
		{
			id: "upload_to_volume", method: http.MethodPost, pattern: "/pods/volumes/{volume_id}/upload/{path}", rest: true,
			kind: kindVolume, level: pods.LevelUser, upload: true, uploadMax: maxVolumeUpload, changes: true, ownTimeout: true,
			handle: (*server).uploadToVolume,
			about: about{
				tag: tagVolumes, summary: "Upload a file to a volume",
				details: "Folders on the way are made. A file that is there is replaced when the new one is complete. " +
					"An upload that would make the volume larger than its `size_limit` is refused with 413.",
				form: fileForm{}, returns: envelopeOf("FilesUploadResponse", ""), errors: []int{http.StatusConflict},
			},
		},
		{
			id: "get_volume_usage", method: http.MethodGet, pattern: "/pods/volumes/{volume_id}/usage",
			kind: kindVolume, level: pods.LevelRead, handle: (*server).getUsage,
			about: about{
				tag: tagVolumes, summary: "Show how the size of a volume was measured", query: []param{usageLimitParam},
				returns: envelopeOf("VolumeUsageResponse", []pods.UsageView{}),
			},
		},
		{
			id: "get_volume_permissions", method: http.MethodGet, pattern: "/pods/volumes/{volume_id}/permissions",
			kind: kindVolume, level: pods.LevelUser, handle: getVolumePermissions(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "List who may do what on a volume", returns: envelopeOf("VolumePermissionsResponse", permissions{}),
			},
		},
		{
			id: "set_volume_permission", method: http.MethodPost, pattern: "/pods/volumes/{volume_id}/permissions",
			kind: kindVolume, level: pods.LevelAdmin, body: true, changes: true, handle: setVolumePermission(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "Give a user a level on a volume", details: "USER may mount it and write to it.",
				body: setPermission{}, example: grantExample, returns: envelopeOf("VolumePermissionsResponse", permissions{}),
			},
		},
		{
			id: "delete_volume_permission", method: http.MethodDelete, pattern: "/pods/volumes/{volume_id}/permissions/{user}",
			kind: kindVolume, level: pods.LevelAdmin, changes: true, handle: deleteVolumePermission(pods.KindVolume),
			about: about{
				tag: tagVolumes, summary: "Take a user's level on a volume away", details: "One ADMIN has to stay.",
				returns: envelopeOf("VolumePermissionsResponse", permissions{}),
			},
		},
	}
}

// snapshotOperations are the rows of the table that are about snapshots.
func snapshotOperations() []operation {
	return []operation{
		{
			id: "list_snapshots", method: http.MethodGet, pattern: "/pods/snapshots",
			handle: listVolumes(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "List the snapshots you may read", query: pagingParams("id and description"),
				returns: envelopeOf("SnapshotsResponse", []pods.SnapshotView{}),
			},
		},
		{
			id: "create_snapshot", method: http.MethodPost, pattern: "/pods/snapshots",
			body: true, changes: true, handle: (*server).createSnapshot,
			about: about{
				tag: tagSnapshots, summary: "Copy a part of a volume",
				details: "You need USER on the volume, and become the snapshot's ADMIN. A large copy goes on after the answer: its status is " +
					"CREATING, then AVAILABLE, or ERROR with the reason in `metadata.message`.",
				body: newSnapshot{}, example: `{"snapshot_id":"monday","source_volume_id":"mydata","source_volume_path":"/results"}`,
				returns: envelopeOf("SnapshotResponse", pods.SnapshotView{}),
			},
		},
		{
			id: "list_snapshots_usage", method: http.MethodGet, pattern: "/pods/snapshots/usage",
			handle: listUsage(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "List the sizes of the snapshots you may read", query: usageListParams,
				returns: envelopeOf("SnapshotUsageResponse", []pods.UsageView{}),
			},
		},
		{
			id: "get_snapshot", method: http.MethodGet, pattern: "/pods/snapshots/{snapshot_id}",
			kind: kindSnapshot, level: pods.LevelRead, handle: getVolume(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "Show a snapshot", returns: envelopeOf("SnapshotResponse", pods.SnapshotView{}),
			},
		},
		{
			id: "update_snapshot", method: http.MethodPut, pattern: "/pods/snapshots/{snapshot_id}",
			kind: kindSnapshot, level: pods.LevelUser, body: true, changes: true, handle: updateVolume(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "Change what a snapshot says about itself", details: unchangedNote,
				body: updateSnapshotBody{}, example: `{"description":"before the big change"}`,
				returns: envelopeOf("SnapshotResponse", pods.SnapshotView{}),
			},
		},
		{
			id: "delete_snapshot", method: http.MethodDelete, pattern: "/pods/snapshots/{snapshot_id}",
			kind: kindSnapshot, level: pods.LevelAdmin, changes: true, handle: deleteVolume(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "Delete a snapshot with its files", details: "Refused while a pod that is not stopped mounts it.",
				returns: envelopeOf("DeleteSnapshotResponse", ""), errors: []int{http.StatusConflict},
			},
		},
		{
			id: "list_snapshot_files", method: http.MethodGet, pattern: "/pods/snapshots/{snapshot_id}/list",
			kind: kindSnapshot, level: pods.LevelRead, handle: listVolumeFiles(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "List a folder of a snapshot", query: []param{pathParam},
				returns: envelopeOf("FilesListResponse", []pods.FileView{}), errors: []int{http.StatusConflict},
			},
		},
		{
			id: "get_snapshot_contents", method: http.MethodGet, pattern: "/pods/snapshots/{snapshot_id}/contents/{path}", rest: true,
			aliases: []string{"/pods/snapshots/{snapshot_id}/contents"},
			kind:    kindSnapshot, level: pods.LevelUser, ownTimeout: true, handle: (*server).getVolumeContents,
			about: about{
				tag: tagSnapshots, summary: "Download a file of a snapshot, or a folder as an archive", query: []param{pathParam, zipParam},
				streams: []string{"application/octet-stream", "application/zip"}, ranges: true, errors: []int{http.StatusConflict},
			},
		},
		{
			id: "get_snapshot_usage", method: http.MethodGet, pattern: "/pods/snapshots/{snapshot_id}/usage",
			kind: kindSnapshot, level: pods.LevelRead, handle: (*server).getUsage,
			about: about{
				tag: tagSnapshots, summary: "Show how the size of a snapshot was measured", query: []param{usageLimitParam},
				returns: envelopeOf("SnapshotUsageResponse", []pods.UsageView{}),
			},
		},
		{
			id: "get_snapshot_permissions", method: http.MethodGet, pattern: "/pods/snapshots/{snapshot_id}/permissions",
			kind: kindSnapshot, level: pods.LevelUser, handle: getVolumePermissions(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "List who may do what on a snapshot", returns: envelopeOf("SnapshotPermissionsResponse", permissions{}),
			},
		},
		{
			id: "set_snapshot_permission", method: http.MethodPost, pattern: "/pods/snapshots/{snapshot_id}/permissions",
			kind: kindSnapshot, level: pods.LevelAdmin, body: true, changes: true, handle: setVolumePermission(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "Give a user a level on a snapshot", details: "READ may mount it.",
				body: setPermission{}, example: grantExample, returns: envelopeOf("SnapshotPermissionsResponse", permissions{}),
			},
		},
		{
			id: "delete_snapshot_permission", method: http.MethodDelete, pattern: "/pods/snapshots/{snapshot_id}/permissions/{user}",
			kind: kindSnapshot, level: pods.LevelAdmin, changes: true, handle: deleteVolumePermission(pods.KindSnapshot),
			about: about{
				tag: tagSnapshots, summary: "Take a user's level on a snapshot away", details: "One ADMIN has to stay.",
				returns: envelopeOf("SnapshotPermissionsResponse", permissions{}),
			},
		},
	}
}

// podFileOperations are the rows of the table that are about files in pods.
func podFileOperations() []operation {
	return []operation{
		{
			id: "upload_to_pod", method: http.MethodPost, pattern: "/pods/{pod_id}/upload_to_pod",
			kind: kindPod, level: pods.LevelAdmin, upload: true, changes: true, ownTimeout: true, handle: (*server).uploadToPod,
			about: about{
				tag: tagPods, summary: "Put a file into a pod", details: "Folders on the way are made. The pod has to run.",
				form: podUploadForm{}, returns: envelopeOf("PodUploadResponse", podUpload{}),
				errors: []int{http.StatusConflict},
			},
		},
		{
			id: "list_pod_files", method: http.MethodGet, pattern: "/pods/{pod_id}/list_files/{path}", rest: true,
			aliases: []string{"/pods/{pod_id}/list_files"},
			kind:    kindPod, level: pods.LevelAdmin, handle: (*server).listPodFiles,
			about: about{
				tag: tagPods, summary: "List a folder in a pod", details: "The pod has to run.", query: []param{containerPathParam},
				returns: envelopeOf("FilesListResponse", []pods.FileView{}),
				errors:  []int{http.StatusConflict},
			},
		},
		{
			id: "download_from_pod", method: http.MethodGet, pattern: "/pods/{pod_id}/download_from_pod/{path}", rest: true,
			aliases: []string{"/pods/{pod_id}/download_from_pod"},
			kind:    kindPod, level: pods.LevelAdmin, ownTimeout: true, handle: (*server).downloadFromPod,
			about: about{
				tag: tagPods, summary: "Get a file out of a pod", details: "The pod has to run.", query: []param{containerPathParam},
				streams: []string{"application/octet-stream"},
				errors:  []int{http.StatusConflict},
			},
		},
	}
}

// unchangedNote is told about every update.
const unchangedNote = "Fields that are not in the body stay. A body that changes nothing is answered with `status` `error` and HTTP status 200."

// Parameters of operations on files.
var (
	pathParam          = textParam("path", "Path from the root, instead of the one in the URL's path.")
	zipParam           = boolParam("zip", false, "Get a ZIP archive; needed for a folder.")
	containerPathParam = textParam("path", "Absolute path, instead of the one in the URL's path.")
	usageLimitParam    = intParam("limit", 1, pods.MaxUsage, "At most so many measurements, newest first. Default 100.")
	usageListParams    = []param{intParam("limit_per", 1, pods.MaxUsage, "At most so many measurements of each. Default 1.")}
)
