package api

import (
	"reflect"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// The models of what clients send. Bodies are decoded by package pods, which
// knows better messages than a decoder of structs; these types are for the
// specification, and a test compares both. The tag null:"true" marks a field that may
// be null; a field with omitzero may be left out.

type newPod struct {
	PodID           pods.ID        `json:"pod_id"`
	StatusRequested pods.Requested `json:"status_requested,omitzero"`
	pods.Definition
	PodTemplate      string `json:"pod_template,omitzero"`
	RoutingPort      int    `json:"routing_port,omitzero"`
	PersistentVolume bool   `json:"persistent_volume,omitzero"`
}

type updatePod struct {
	StatusRequested pods.Requested `json:"status_requested,omitzero" null:"true"`
	pods.Definition
}

type setPermission struct {
	User  string     `json:"user"`
	Level pods.Level `json:"level"`
}

type execCommands struct {
	Commands         any  `json:"commands"`
	TotalTimeout     int  `json:"total_timeout"`
	CommandTimeout   int  `json:"command_timeout"`
	FailOnNonSuccess bool `json:"fail_on_non_success"`
}

// newNetworking has fields more than are kept: clients send back what they were
// shown.
type newNetworking struct {
	pods.NetDef
	URL                       string         `json:"url,omitzero"`
	CustomDomainVerified      bool           `json:"custom_domain_verified,omitzero"`
	CertState                 string         `json:"cert_state,omitzero"`
	CertReady                 bool           `json:"cert_ready,omitzero"`
	CertProvisioningStartedAt pods.Timestamp `json:"cert_provisioning_started_at,omitzero" null:"true"`
	CertReadyAt               pods.Timestamp `json:"cert_ready_at,omitzero" null:"true"`
}

// fileContent is a file of a multipart form.
type fileContent []byte

// The models of what clients get, where the type that is sent can't say it.

type containerView struct {
	Phase        string         `json:"phase,omitempty"`
	StartTime    pods.Timestamp `json:"start_time,omitzero"`
	Message      string         `json:"message,omitempty"`
	Ready        bool           `json:"ready,omitempty"`
	RestartCount int            `json:"restart_count,omitempty"`
}

// standIns are types that are described by another one.
var standIns = map[reflect.Type]reflect.Type{
	reflect.TypeFor[pods.ContainerView]():   reflect.TypeFor[containerView](),
	reflect.TypeFor[pods.TemplateTagView](): reflect.TypeFor[templateTagView](),
	reflect.TypeFor[pods.VolumeMount]():     reflect.TypeFor[volumeMount](),
	reflect.TypeFor[pods.MountOverride]():   reflect.TypeFor[mountOverride](),
}

// inputStandIns are the same for what clients send.
var inputStandIns = map[reflect.Type]reflect.Type{
	reflect.TypeFor[pods.NetDef](): reflect.TypeFor[newNetworking](),
	reflect.TypeFor[volumeMount](): reflect.TypeFor[*newVolumeMount](),
}

// choices are types that are described by several others, of which each value has
// one.
var choices = map[reflect.Type][]reflect.Type{
	reflect.TypeFor[imageOrNothing](): {reflect.TypeFor[pods.ImageView](), reflect.TypeFor[string]()},
}

// inputNames are the names of what clients only send.
var inputNames = map[reflect.Type]string{
	reflect.TypeFor[newPod]():                "NewPod",
	reflect.TypeFor[updatePod]():             "UpdatePod",
	reflect.TypeFor[setPermission]():         "SetPermission",
	reflect.TypeFor[execCommands]():          "ExecutePodCommands",
	reflect.TypeFor[newNetworking]():         "NewNetworking",
	reflect.TypeFor[newVolumeMount]():        "NewVolumeMount",
	reflect.TypeFor[pods.ResourcesDef]():     "NewResources",
	reflect.TypeFor[pods.HealthchecksDef]():  "NewHealthchecks",
	reflect.TypeFor[newTemplate]():           "NewTemplate",
	reflect.TypeFor[updateTemplate]():        "UpdateTemplate",
	reflect.TypeFor[newTemplateTag]():        "NewTemplateTag",
	reflect.TypeFor[templateDefinition]():    "TemplateTagPodDefinition",
	reflect.TypeFor[newTemplateTagFromPod](): "NewTemplateTagFromPod",
	reflect.TypeFor[newImage]():              "NewImage",
	reflect.TypeFor[updateImageBody]():       "UpdateImage",
	reflect.TypeFor[resetFields]():           "ResetFields",
	reflect.TypeFor[uploadToJupyter]():       "BodyUploadToJupyter",
	reflect.TypeFor[newVolume]():             "NewVolume",
	reflect.TypeFor[updateVolumeBody]():      "UpdateVolume",
	reflect.TypeFor[newSnapshot]():           "NewSnapshot",
	reflect.TypeFor[updateSnapshotBody]():    "UpdateSnapshot",
	reflect.TypeFor[newSecret]():             "NewSecret",
	reflect.TypeFor[createAccess]():          "NewAccessToken",
	reflect.TypeFor[updateSecretBody]():      "UpdateSecret",
	reflect.TypeFor[fileForm]():              "Body_upload_to_volume",
	reflect.TypeFor[podUploadForm]():         "Body_upload_to_pod",
}

// modelNames are the names of what clients get. As part of what they send, a
// model has the prefix "New". A struct that is in neither list is written where
// it stands.
var modelNames = map[reflect.Type]string{
	reflect.TypeFor[pods.View]():              "PodResponseModel",
	reflect.TypeFor[volumeMount]():            "VolumeMount",
	reflect.TypeFor[pods.TemplateOverrides](): "TemplateOverrides",
	reflect.TypeFor[mountOverride]():          "MountOverride",
	reflect.TypeFor[pods.VolumeView]():        "VolumeResponseModel",
	reflect.TypeFor[pods.SnapshotView]():      "SnapshotResponseModel",
	reflect.TypeFor[pods.FileView]():          "FileModel",
	reflect.TypeFor[pods.UsageView]():         "UsageModel",
	reflect.TypeFor[pods.SecretView]():        "SecretResponseModel",
	reflect.TypeFor[secretValue]():            "SecretValue",
	reflect.TypeFor[accessToken]():            "AccessTokenModel",
	reflect.TypeFor[newAccessToken]():         "CreatedAccessTokenModel",
	reflect.TypeFor[podUpload]():              "PodUpload",
	reflect.TypeFor[podDomain]():              "PodDomain",
	reflect.TypeFor[pods.Networking]():        "Networking",
	reflect.TypeFor[pods.Resources]():         "Resources",
	reflect.TypeFor[pods.Healthchecks]():      "Healthchecks",
	reflect.TypeFor[pods.Probe]():             "Probe",
	reflect.TypeFor[pods.NetDef]():            "NetworkingDefinition",
	reflect.TypeFor[pods.ResourcesDef]():      "ResourcesDefinition",
	reflect.TypeFor[pods.HealthchecksDef]():   "HealthchecksDefinition",
	reflect.TypeFor[containerView]():          "ContainerStatus",
	reflect.TypeFor[credentials]():            "CredentialsModel",
	reflect.TypeFor[permissions]():            "PermissionsModel",
	reflect.TypeFor[podLogs]():                "LogsModel",
	reflect.TypeFor[podHost]():                "PodHost",
	reflect.TypeFor[execReport]():             "ExecReport",
	reflect.TypeFor[execResult]():             "ExecResult",
	reflect.TypeFor[pods.TemplateView]():      "TemplateResponseModel",
	reflect.TypeFor[templateAndTags]():        "TemplateAndTags",
	reflect.TypeFor[templateTagView]():        "TemplateTag",
	reflect.TypeFor[templateDefinitionView](): "TemplateTagDefinition",
	reflect.TypeFor[pods.ImageView]():         "ImageResponseModel",
	reflect.TypeFor[jupyterPod]():             "JupyterPod",
	reflect.TypeFor[jupyterUpload]():          "JupyterUpload",
	reflect.TypeFor[pods.Overrides]():         "PodOverrides",
	reflect.TypeFor[pods.Provenance]():        "PodProvenance",
	reflect.TypeFor[pods.Field]():             "FieldProvenance",
}

// enums are the values of types that have few.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[pods.Requested](): {string(pods.On), string(pods.Off), string(pods.Restart)},
	reflect.TypeFor[pods.Status](): {
		string(pods.StatusRequested), string(pods.StatusSpawnerSetup), string(pods.StatusCreating), string(pods.StatusAvailable),
		string(pods.StatusComplete), string(pods.StatusError), string(pods.StatusDeleting), string(pods.StatusStopped),
	},
	reflect.TypeFor[pods.NetProtocol](): {
		string(pods.NetHTTP), string(pods.NetTCP), string(pods.NetPostgres), string(pods.NetLocalOnly),
	},
	reflect.TypeFor[pods.Level](): levelNames(),

	reflect.TypeFor[pods.DomainState](): {string(pods.DomainPending), string(pods.DomainVerified), string(pods.DomainFailed)},

	reflect.TypeFor[pods.AccessTokenKind](): {string(pods.AccessLink), string(pods.AccessPassword)},

	reflect.TypeFor[pods.SecretScope](): {string(pods.ScopeUser), string(pods.ScopePod)},
	reflect.TypeFor[pods.Source]():      {string(pods.FromPod), string(pods.FromTemplate), string(pods.FromDefault)},
}

func levelNames() []string {
	var names []string
	for _, l := range pods.Levels() {
		names = append(names, string(l))
	}
	return names
}
