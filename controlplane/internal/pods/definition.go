package pods

// ID names a pod within its tenant.
type ID string

// Key names a pod within the site.
type Key struct {
	Tenant string
	ID     ID
}

// String returns "tenant/id".
func (k Key) String() string { return k.Tenant + "/" + string(k.ID) }

// Definition is what a user set on a pod (or an author on a template tag), and
// nothing else. Fields that are absent inherit; see [Resolve]. Its JSON form is
// what the store keeps.
type Definition struct {
	Image                Opt[string]                 `json:"image,omitzero"`
	Template             Opt[string]                 `json:"template,omitzero"`
	Description          Opt[string]                 `json:"description,omitzero"`
	Command              Opt[[]string]               `json:"command,omitzero"`
	Arguments            Opt[[]string]               `json:"arguments,omitzero"`
	EnvironmentVariables Opt[map[string]string]      `json:"environment_variables,omitzero"`
	SecretMap            Opt[map[string]string]      `json:"secret_map,omitzero"` // see SealSecrets
	VolumeMounts         Opt[map[string]VolumeMount] `json:"volume_mounts,omitzero"`
	TemplateOverrides    Opt[TemplateOverrides]      `json:"template_overrides,omitzero"`
	TimeToStopDefault    Opt[int]                    `json:"time_to_stop_default,omitzero"`
	TimeToStopInstance   Opt[int]                    `json:"time_to_stop_instance,omitzero"`
	Networking           Opt[map[string]NetDef]      `json:"networking,omitzero"`
	Resources            Opt[ResourcesDef]           `json:"resources,omitzero"`
	ComputeQueue         Opt[string]                 `json:"compute_queue,omitzero"`
	Healthchecks         Opt[HealthchecksDef]        `json:"healthchecks,omitzero"`
}

// NetDef is a sparse networking entry; see [Networking] for the fields.
type NetDef struct {
	Protocol                            Opt[string]            `json:"protocol,omitzero"`
	Port                                Opt[int]               `json:"port,omitzero"`
	IPAllowList                         Opt[[]string]          `json:"ip_allow_list,omitzero"`
	ClientCA                            Opt[string]            `json:"client_ca,omitzero"`
	TapisAuth                           Opt[bool]              `json:"tapis_auth,omitzero"`
	TapisAuthResponseHeaders            Opt[map[string]string] `json:"tapis_auth_response_headers,omitzero"`
	TapisAuthAllowedUsers               Opt[[]string]          `json:"tapis_auth_allowed_users,omitzero"`
	TapisAuthReturnPath                 Opt[string]            `json:"tapis_auth_return_path,omitzero"`
	TapisAuthExcludedPaths              Opt[[]string]          `json:"tapis_auth_excluded_paths,omitzero"`
	TapisAuthExcludedPathRegex          Opt[[]string]          `json:"tapis_auth_excluded_path_regex,omitzero"`
	AccessGate                          Opt[bool]              `json:"access_gate,omitzero"`
	AccessGateReturnPath                Opt[string]            `json:"access_gate_return_path,omitzero"`
	CORSAllowOrigins                    Opt[[]string]          `json:"cors_allow_origins,omitzero"`
	CORSAllowMethods                    Opt[[]string]          `json:"cors_allow_methods,omitzero"`
	CORSAllowHeaders                    Opt[[]string]          `json:"cors_allow_headers,omitzero"`
	CORSAllowCredentials                Opt[bool]              `json:"cors_allow_credentials,omitzero"`
	CORSMaxAge                          Opt[int]               `json:"cors_max_age,omitzero"`
	ProxyCompression                    Opt[bool]              `json:"proxy_compression,omitzero"`
	ProxyCompressionEncodings           Opt[[]string]          `json:"proxy_compression_encodings,omitzero"`
	ProxyCompressionExcludedContent     Opt[[]string]          `json:"proxy_compression_excluded_content_types,omitzero"`
	ProxyCompressionMinResponseBodySize Opt[int]               `json:"proxy_compression_min_response_body_bytes,omitzero"`
	CustomDomain                        Opt[string]            `json:"custom_domain,omitzero"`
	TapisUIURI                          Opt[string]            `json:"tapis_ui_uri,omitzero"`
	TapisUIURIRedirect                  Opt[bool]              `json:"tapis_ui_uri_redirect,omitzero"`
	TapisUIURIDescription               Opt[string]            `json:"tapis_ui_uri_description,omitzero"`
}

// ResourcesDef is a sparse [Resources].
type ResourcesDef struct {
	CPURequest Opt[int] `json:"cpu_request,omitzero"`
	CPULimit   Opt[int] `json:"cpu_limit,omitzero"`
	MemRequest Opt[int] `json:"mem_request,omitzero"`
	MemLimit   Opt[int] `json:"mem_limit,omitzero"`
	GPUs       Opt[int] `json:"gpus,omitzero"`
}

// Effective is a pod's definition with templates and defaults applied. It is
// computed on every read and never stored.
type Effective struct {
	Image                string
	Template             string
	Description          string
	Command              []string // nil: the image's own
	Arguments            []string // nil: the image's own
	EnvironmentVariables map[string]string
	SecretMap            map[string]string // values as they are stored; never to be shown, see ShownSecretMap
	VolumeMounts         map[string]VolumeMount
	TemplateOverrides    TemplateOverrides
	TimeToStopDefault    int  // seconds; -1 never
	TimeToStopInstance   *int // seconds, for this run only; nil: the default counts
	Networking           map[string]Networking
	Resources            Resources
	ComputeQueue         string
	Healthchecks         *Healthchecks // nil: none
}

// NetProtocol is the protocol of a networking entry on the wire.
type NetProtocol string

// The protocols a user may choose.
const (
	NetHTTP      NetProtocol = "http"
	NetTCP       NetProtocol = "tcp"
	NetPostgres  NetProtocol = "postgres"
	NetLocalOnly NetProtocol = "local_only" // no route; reachable inside the cluster only
)

// Networking is one entry of a pod's networking, complete. The JSON tags are
// the wire form of the API.
type Networking struct {
	Protocol                            NetProtocol       `json:"protocol"`
	Port                                int               `json:"port"` // 10 to 65535
	URL                                 string            `json:"url"`  // host name, set by the service
	IPAllowList                         []string          `json:"ip_allow_list"`
	ClientCA                            string            `json:"client_ca"` // PEM; "": clients need no certificate
	TapisAuth                           bool              `json:"tapis_auth"`
	TapisAuthResponseHeaders            map[string]string `json:"tapis_auth_response_headers"`
	TapisAuthAllowedUsers               []string          `json:"tapis_auth_allowed_users"`
	TapisAuthReturnPath                 string            `json:"tapis_auth_return_path"`
	TapisAuthExcludedPaths              []string          `json:"tapis_auth_excluded_paths"`
	TapisAuthExcludedPathRegex          []string          `json:"tapis_auth_excluded_path_regex"`
	AccessGate                          bool              `json:"access_gate"`
	AccessGateReturnPath                string            `json:"access_gate_return_path"`
	CORSAllowOrigins                    []string          `json:"cors_allow_origins"`
	CORSAllowMethods                    []string          `json:"cors_allow_methods"`
	CORSAllowHeaders                    []string          `json:"cors_allow_headers"`
	CORSAllowCredentials                bool              `json:"cors_allow_credentials"`
	CORSMaxAge                          int               `json:"cors_max_age"` // seconds
	ProxyCompression                    bool              `json:"proxy_compression"`
	ProxyCompressionEncodings           []string          `json:"proxy_compression_encodings"`
	ProxyCompressionExcludedContent     []string          `json:"proxy_compression_excluded_content_types"`
	ProxyCompressionMinResponseBodySize int               `json:"proxy_compression_min_response_body_bytes"`
	CertState                           CertState         `json:"cert_state"` // these four are set when it is shown, see WithCertificate
	CertReady                           bool              `json:"cert_ready"`
	CertProvisioningStartedAt           Timestamp         `json:"cert_provisioning_started_at"`
	CertReadyAt                         Timestamp         `json:"cert_ready_at"`
	CustomDomain                        string            `json:"custom_domain"`          // "": none
	CustomDomainVerified                bool              `json:"custom_domain_verified"` // set by the service when it is shown
	TapisUIURI                          string            `json:"tapis_ui_uri"`
	TapisUIURIRedirect                  bool              `json:"tapis_ui_uri_redirect"`
	TapisUIURIDescription               string            `json:"tapis_ui_uri_description"`
}

// Resources a pod asks for and may use.
type Resources struct {
	CPURequest int `json:"cpu_request"` // millicores
	CPULimit   int `json:"cpu_limit"`   // millicores
	MemRequest int `json:"mem_request"` // MiB
	MemLimit   int `json:"mem_limit"`   // MiB
	GPUs       int `json:"gpus"`
}
