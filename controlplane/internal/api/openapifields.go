package api

// idRule is the grammar of ids that users choose.
func idRule(most int, text string) schema {
	return schema{Description: text, Pattern: "^[a-z][a-z0-9]+$", MinLength: new(3), MaxLength: &most}
}

// ascii is a text of at most so many characters.
func ascii(most int, text string) schema {
	return schema{Description: text, Pattern: "^[\\x00-\\x7f]*$", MaxLength: &most}
}

// pathParams describe the parameters of paths.
var pathParams = map[string]schema{
	"pod_id":      {Description: "Name of the pod."},
	"pod_id_net":  {Description: "Name of the pod, or `<pod_id>-<key>` with a key of its networking. Without a key: `default`."},
	"template_id": {Description: "Name of the template."},
	"tag_id":      {Description: "Name of a tag, alone (`latest`) or with a version (`latest@2025-01-30-17:14:14`)."},
	"image_id":    {Description: "Name of the image. It may hold `/`, as it is."},
	"volume_id":   {Description: "Name of the volume."},
	"snapshot_id": {Description: "Name of the snapshot."},
	"secret_id":   {Description: "Name of the secret."},
	"path":        {Description: "Path relative to the root. It may hold `/`, as it is."},
	"user":        {Description: "Name of the user whose permission it is."},
	"status":      {Description: "HTTP status to answer with, 400 to 599.", Pattern: "^[45][0-9][0-9]$"},
}

// propertyDocs describe the properties of models, by name; those of one model, by
// model and name. Rules are those for input.
var propertyDocs = map[string]schema{
	// Pods, as they are sent and got.
	"pod_id":                  idRule(64, "Name of the pod, unique in the tenant."),
	"image":                   {Description: "Image to run. It must be on the list of allowed images. Required without a template.", MaxLength: new(545)},
	"template":                {Description: "Template to build on: `id`, `id:tag` or `id:tag@timestamp`. What the pod sets comes before what the template gives."},
	"description":             ascii(255, "For people."),
	"command":                 {Description: "Program to run and its words, instead of the image's own."},
	"arguments":               {Description: "Words after the command, instead of the image's own."},
	"environment_variables":   {Description: "Environment of the program. In values `<<TAPIS_user_password>>` and the like are filled in at the start."},
	"status_requested":        {Description: "What you want of the pod."},
	"volume_mounts":           {Description: "Storage to mount. The key is the id of the volume or snapshot, or, if it starts with `/`, where to mount it. Null removes a mount of the template."},
	"template_overrides":      {Description: "What the pod answers to its template: values it asks for and small changes of its mounts."},
	"time_to_stop_default":    {Description: "Seconds from the start to the stop; -1 never. Default 43200, 12 hours.", Minimum: new(-1)},
	"time_to_stop_instance":   {Description: "The same for this run only; null: the default counts.", Minimum: new(-1)},
	"networking":              {Description: "What the pod serves, at most 4 entries. The entry `default` is at `<pod_id>.pods.<domain>`, others at `<pod_id>-<key>.pods.<domain>`. Default: http on port 5000."},
	"resources":               {Description: "What the pod asks for and may use. Bounds are the operator's."},
	"compute_queue":           {Description: "Where the pod runs. Default `default`."},
	"healthchecks":            {Description: "How to find out whether the pod works."},
	"time_to_stop_ts":         {Description: "When the pod will be stopped (UTC); null: never, or it does not run."},
	"status":                  {Description: "What is happening to it."},
	"status_container":        {Description: "The pod's container; empty if there is none."},
	"networking_live":         {Description: "Whether its hosts lead to it now."},
	"creation_ts":             {Description: "When it was made (UTC)."},
	"update_ts":               {Description: "When a user last changed it (UTC)."},
	"start_instance_ts":       {Description: "When this run became AVAILABLE (UTC); null if it is not."},
	"NewPod.pod_template":     {Description: "Older name of `template`; also takes an allowed image.", Deprecated: true},
	"NewPod.routing_port":     {Description: "Older form of `networking.default.port`.", Deprecated: true, Minimum: new(10), Maximum: new(65535)},
	"persistent_volume":       {Description: "Older form of a mount of type `pvc`.", Deprecated: true},
	"NewPod.status_requested": {Description: "`OFF` creates the pod without starting it. Default `ON`."},

	"PodResponseModel.image":     {Description: "Image that runs; empty if a template gives it."},
	"PodResponseModel.command":   {Description: "Program and its words; null: the image's own.", Nullable: true},
	"PodResponseModel.arguments": {Description: "Words after the command; null: the image's own.", Nullable: true},

	// The container of a pod.
	"phase":                   {Description: "As the cluster calls it, for example `Running`."},
	"start_time":              {Description: "When the container started (UTC)."},
	"ContainerStatus.message": {Description: "Why it is as it is, in a sentence."},
	"ready":                   {Description: "Whether it answers its readiness probe."},
	"restart_count":           {Description: "How often it was started again."},

	// Storage of a pod.
	"VolumeMount.type":       {Description: "What is mounted."},
	"VolumeMount.mount_path": {Description: "Where, absolute."},
	"VolumeMount.source_id":  {Description: "What is mounted, if the key is a path."},
	"VolumeMount.read_only":  {Description: "Whether the pod may only read it. Snapshots are read-only anyway."},
	"VolumeMount.sub_path":   {Description: "Folder below its root; empty for the root."},
	"NewVolumeMount.type":    {Description: "What is mounted.", Enum: []string{"tapisvolume", "tapissnapshot", "pvc"}},
	"NewVolumeMount.mount_path": {
		Description: "Where, absolute and without `..`.", Default: "/tapis_volume_mount",
	},
	"NewVolumeMount.source_id": {Description: "Id of the volume or snapshot, or name of the claim; required if the key is a path. In templates also `${:?description}`."},
	"NewVolumeMount.read_only": {Description: "Let the pod only read it. Snapshots are read-only anyway."},
	"NewVolumeMount.sub_path":  {Description: "Folder below its root; empty for the root.", Default: ""},

	"TemplateOverrides.volume_mounts":    {Description: "Changes of the template's mounts, by their keys."},
	"TemplateOverrides.secret_map":       {Description: "Values that the template asks for, by name; as those of the pod's own `secret_map`."},
	"NewTemplateOverrides.volume_mounts": {Description: "Changes of the template's mounts, by their keys."},
	"NewTemplateOverrides.secret_map":    {Description: "Values that the template asks for, by name; as those of the pod's own `secret_map`."},
	"MountOverride.type":                 {Description: "What is mounted instead."},
	"MountOverride.source_id":            {Description: "Id of the volume or snapshot, or name of the claim."},
	"MountOverride.sub_path":             {Description: "Folder below its root."},
	"MountOverride.read_only":            {Description: "Whether the pod may only read it."},
	"NewMountOverride.type":              {Description: "What to mount instead.", Enum: []string{"tapisvolume", "tapissnapshot", "pvc"}},
	"NewMountOverride.source_id":         {Description: "Id of the volume or snapshot, or name of the claim."},
	"NewMountOverride.sub_path":          {Description: "Folder below its root."},
	"NewMountOverride.read_only":         {Description: "Let the pod only read it."},

	// Networking.
	"protocol":                                  {Description: "What the pod speaks behind the edge. Default `http`."},
	"port":                                      {Description: "Port of the container. Default 5000.", Minimum: new(10), Maximum: new(65535)},
	"url":                                       {Description: "Host name of the entry, set by the service."},
	"NewNetworking.url":                         {Description: "Set by the service; what you send is checked and not kept."},
	"ip_allow_list":                             {Description: "Addresses and networks that may connect. Empty: all."},
	"tapis_auth":                                {Description: "Ask visitors to log in to Tapis first. For http only."},
	"tapis_auth_response_headers":               {Description: "Headers the pod gets about the visitor; values may hold `<<tapisusername>>`, `<<tapistenantid>>` and `<<tapissiteid>>`."},
	"tapis_auth_allowed_users":                  {Description: "Who may visit: names, `*` for everyone logged in, or `AUTHORIZED_READS`, `AUTHORIZED_USERS`, `AUTHORIZED_ADMINS` for holders of a level."},
	"tapis_auth_return_path":                    {Description: "Where visitors land after the login if it is not known where they wanted to go. Default `/`."},
	"tapis_auth_excluded_paths":                 {Description: "Beginnings of paths that need no login."},
	"tapis_auth_excluded_path_regex":            {Description: "Patterns (RE2) of paths that need no login."},
	"access_gate":                               {Description: "Ask visitors for a link or a password of `/pods/{pod_id}/access-tokens`. With `tapis_auth`, either lets them pass. For http only."},
	"access_gate_return_path":                   {Description: "Where visitors land who used one. Default `/`."},
	"cors_allow_origins":                        {Description: "Origins whose pages may call the pod. Needs an operator's approval."},
	"cors_allow_methods":                        {Description: "Methods they may use."},
	"cors_allow_headers":                        {Description: "Headers they may send."},
	"cors_allow_credentials":                    {Description: "Whether they may send credentials."},
	"cors_max_age":                              {Description: "Seconds for which browsers may remember this.", Minimum: new(0), Maximum: new(100)},
	"proxy_compression":                         {Description: "Compress answers on the way. Default true."},
	"proxy_compression_encodings":               {Description: "With which encodings, best first."},
	"proxy_compression_excluded_content_types":  {Description: "Content types that are not compressed."},
	"proxy_compression_min_response_body_bytes": {Description: "Smaller answers are not compressed. Default 1024.", Minimum: new(0)},
	"tapis_ui_uri":                              {Description: "Path that TapisUI opens."},
	"tapis_ui_uri_redirect":                     {Description: "Whether TapisUI redirects there."},
	"tapis_ui_uri_description":                  ascii(255, "What is there, for TapisUI."),

	// Resources.
	"cpu_request": {Description: "Thousandths of a core the pod gets at least."},
	"cpu_limit":   {Description: "Thousandths of a core it may use."},
	"mem_request": {Description: "MiB of memory the pod gets at least."},
	"mem_limit":   {Description: "MiB of memory it may use."},
	"gpus":        {Description: "GPUs.", Minimum: new(0)},

	// Health checks.
	"liveness":                  {Description: "Ends a pod that does not answer any more."},
	"readiness":                 {Description: "Decides whether the pod gets traffic."},
	"startup":                   {Description: "Holds the others back until it has succeeded once."},
	"networking_requires_ready": {Description: "Keep the pod's hosts closed until it is ready. Default true."},
	"http_get_path":             {Description: "Path to ask. One of this, `exec_command` and `tcp_socket_port` is required."},
	"http_get_port":             {Description: "Port to ask. Default: that of the networking entry `default`.", Minimum: new(1), Maximum: new(65535)},
	"http_get_scheme":           {Description: "`HTTP` or `HTTPS`. Default `HTTP`."},
	"exec_command":              {Description: "Program to run in the container, with its words."},
	"tcp_socket_port":           {Description: "Port to connect to.", Minimum: new(1), Maximum: new(65535)},
	"initial_delay_seconds":     {Description: "Seconds to wait before the first try.", Minimum: new(0), Maximum: new(3600), Default: 10},
	"period_seconds":            {Description: "Seconds between tries.", Minimum: new(1), Maximum: new(3600), Default: 10},
	"timeout_seconds":           {Description: "Seconds a try may take.", Minimum: new(1), Maximum: new(3600), Default: 5},
	"failure_threshold":         {Description: "Failures in a row that count.", Minimum: new(1), Maximum: new(1000), Default: 3},
	"success_threshold":         {Description: "Successes in a row that count.", Minimum: new(1), Maximum: new(1000), Default: 1},

	// What else there is about a pod.
	"user_username": {Description: "User made for the pod: its id."},
	"user_password": {Description: "Password made for the pod."},
	"logs":          {Description: "What the container wrote, newest 10 MiB."},
	"action_logs":   {Description: "What happened, oldest first."},
	"permissions":   {Description: "Who may do what, as `user:LEVEL`."},

	"SetPermission.user": {
		Description: "Name of a user, or `*` for everyone of the tenant.", MaxLength: new(128),
	},
	"SetPermission.level": {Description: "What the user may do; a level includes all lower ones. APPROVEDADMIN is for operators to give."},

	// Hosts of pods.
	"host":           {Description: "Host name that leads to the pod."},
	"network":        {Description: "Key of the pod's networking entry."},
	"PodHost.pod_id": {Description: "Name of the pod."},
	"PodHost.port":   {Description: "Port of the container."},

	// Commands in a pod.
	"ExecutePodCommands.commands": {
		Description: "One command as a list of words, or a list of such lists.",
		AnyOf: []*schema{
			{Type: "array", Items: &schema{Type: "string"}},
			{Type: "array", Items: &schema{Type: "array", Items: &schema{Type: "string"}}},
		},
	},
	"total_timeout":       {Description: "Seconds for all of them.", Minimum: new(1), Maximum: new(maxExecSeconds), Default: 300},
	"command_timeout":     {Description: "Seconds for each of them.", Minimum: new(1), Maximum: new(maxExecSeconds), Default: 60},
	"fail_on_non_success": {Description: "Stop at the first one that fails or takes too long.", Default: true},
	"execution_results":   {Description: "One entry for each command that was run."},
	"total_commands":      {Description: "How many were asked for."},
	"successful_commands": {Description: "How many ended with exit code 0."},
	"ExecResult.command":  {Description: "As it was asked for."},
	"stdout":              {Description: "What it wrote to standard output."},
	"stderr":              {Description: "What it wrote to standard error."},
	"success": {
		Description: "Whether it ended with exit code 0; a sentence if it took too long.",
		AnyOf:       []*schema{{Type: "boolean"}, {Type: "string"}},
	},
	"exit_code":    {Description: "Null if it did not end by itself."},
	"duration_sec": {Description: "Seconds it took."},
	"timestamp":    {Description: "When it was started (UTC)."},

	// Templates.
	"template_id":                       {Description: "Name of the template."},
	"NewTemplate.template_id":           idRule(64, "Name of the template, unique at the site."),
	"metatags":                          {Description: "Words to search for.", MaxItems: new(50)},
	"archive_message":                   ascii(255, "What to tell users of a template that should be used no more."),
	"NewTemplateTag.description":        ascii(20_000, "How to use it."),
	"NewTemplateTagFromPod.description": ascii(20_000, "How to use it."),
	"TemplateTag.description":           {Description: "How to use it."},
	"TemplateAndTags.tags":              {Description: "All versions of all tags, newest first."},
	"pod_definition":                    {Description: "What pods get from the tag; empty or null where it gives nothing."},
	"NewTemplateTag.pod_definition":     {Description: "What pods shall get from the tag. Null or an empty object gives nothing."},
	"commit_message":                    ascii(255, "Why there is this version."),
	"tag":                               {Description: "Name of the tag. Default `latest`.", Pattern: "^[a-zA-Z0-9.-]+$", MaxLength: new(80)},
	"tag_timestamp":                     {Description: "Tag and version: `latest@2025-01-30-17:14:14`."},
	"added_by":                          {Description: "Who added it."},
	"ResetFields.fields":                {Description: "Names of the fields."},
	"PodProvenance.fields":              {Description: "One entry for each field."},
	"PodProvenance.summary":             {Description: "How many fields each source gave."},
	"has_template":                      {Description: "Whether the pod builds on a template."},
	"pending_restart":                   {Description: "Fields that were changed since the pod was started; a restart applies them."},
	"modified_fields":                   {Description: "What was set on the pod itself, by name."},
	"overrides":                         {Description: "What was set on the pod itself."},
	"source":                            {Description: "Where the value comes from."},
	"in_modified_fields":                {Description: "Whether the pod sets it."},
	"template_provides":                 {Description: "Whether a template sets it."},
	"FieldProvenance.pod_value":         {Description: "What the pod sets."},
	"FieldProvenance.template_value":    {Description: "What its templates set together."},
	"FieldProvenance.derived_value":     {Description: "What counts."},

	// Images.
	"tenants":                  {Description: "Tenants that may run it: ids, `*` for the main ones, `**` for all, `-<id>` for all but that. Empty: none.", MaxItems: new(500)},
	"BodyUploadToJupyter.file": {Description: "The file."},
	"BodyUploadToJupyter.path": {Description: "Where to put it, below the folder of the notebooks."},
	"uploaded":                 {Description: "Where the file is now."},
	"pod_name":                 {Description: "Name of the pod."},
	"JupyterPod.url":           {Description: "Where to open it in a browser."},

	// Volumes and snapshots.
	"volume_id":                    idRule(128, "Name of the volume, unique in the tenant."),
	"snapshot_id":                  idRule(128, "Name of the snapshot, unique in the tenant."),
	"size_limit":                   {Description: "MB it may hold. Default 1024.", Minimum: new(1)},
	"size":                         {Description: "MB it holds, as measured last and uploaded since."},
	"VolumeResponseModel.status":   {Description: "`AVAILABLE`, or on its way there."},
	"SnapshotResponseModel.status": {Description: "`CREATING` while it is copied, then `AVAILABLE`; `ERROR` if it could not be."},
	"source_volume_id":             {Description: "Volume it is a copy of."},
	"source_volume_path":           {Description: "What of the volume, from its root; starts with `/`.", MaxLength: new(4096)},
	"destination_path":             {Description: "Where to put the copy in the snapshot. Needed if the source is a file. Default: its root.", MaxLength: new(4096)},
	"cron":                         ascii(255, "Kept as it is; nothing acts on it."),
	"retention_policy":             ascii(255, "Kept as it is; nothing acts on it."),
	"Body_upload_to_volume.file":   {Description: "The file."},
	"FileModel.path":               {Description: "Path from the root, starts with `/`."},
	"FileModel.name":               {Description: "Last part of the path."},
	"FileModel.type":               {Description: "`file`, `dir`, `symbolic_link` or `other/unknown`."},
	"FileModel.size":               {Description: "Bytes."},
	"FileModel.lastModified":       {Description: "When it was last changed: `YYYY-MM-DDTHH:MM:SSZ`."},
	"FileModel.nativePermissions":  {Description: "For owner, group and others: `rw-r--r--`."},
	"UsageModel.id":                {Description: "Name of the measurement."},
	"object_id":                    {Description: "Name of the volume or snapshot."},
	"object_type":                  {Description: "`volume` or `snapshot`."},
	"tenant_id":                    {Description: "Tenant it belongs to."},
	"site_id":                      {Description: "Site it belongs to."},
	"size_mb":                      {Description: "MB it held."},
	"size_limit_mb":                {Description: "MB it may hold, now."},
	"over_limit":                   {Description: "Whether it held more than that."},
	"measured_at":                  {Description: "When it was measured (UTC)."},

	// Secrets.
	"secret_map": {
		Description: "Values for the environment, by name: secrets (`${secret:name}`), generated ones (`${pods:random:32}`), " +
			"the pod's own (`${pods:url}`), or text. A variable uses one as `${pods:secrets:NAME}`. " +
			"What may be secret is shown as `<<write-only>>`, which keeps it when it is sent back.",
	},
	"secret_id":                  {Description: "Name of the secret, unique among its owner's.", Pattern: "^[A-Za-z0-9_-]+$", MaxLength: new(110)},
	"secret_value":               {Description: "The value.", MaxLength: new(32768)},
	"NewSecret.description":      ascii(500, "For people."),
	"UpdateSecret.description":   ascii(500, "For people."),
	"scope":                      {Description: "Which pods may use it: `user`, all of its owner's, or `pod`, one. Default `user`."},
	"NewSecret.pod_id":           {Description: "The pod that may use it; required with the scope `pod`."},
	"SecretResponseModel.pod_id": {Description: "The pod that may use it; empty with the scope `user`."},
	"readable":                   {Description: "Whether its value can be read. Pods can use it anyway. Default true; can't be set back to true."},
	"writable":                   {Description: "Whether its value can be changed. Default true; can't be set back to true."},
	"sk_secret_name":             {Description: "`owner:secret_id`, which names it for others than its owner."},

	// Files in pods.
	"Body_upload_to_pod.file": {Description: "The file."},
	"dest_path":               {Description: "Where to put it in the pod, absolute."},
}
