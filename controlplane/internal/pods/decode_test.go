package pods

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes/routestest"
)

// problemsOf returns the messages of an error that must have code Invalid.
func problemsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	if got := ErrorCode(err); got != Invalid {
		t.Fatalf("got code %q of %v, want %q", got, err, Invalid)
	}
	return err.(*Error).Messages //nolint:errorlint // the functions promise exactly this type
}

func wantProblems(t *testing.T, err error, want ...string) {
	t.Helper()
	if got := problemsOf(t, err); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// with returns the body of a good create request with more fields in it.
func with(fields string) string {
	return `{"pod_id":"mypod","image":"podway/hello",` + fields + `}`
}

// net returns such a body with fields in the networking entry "default".
func netWith(fields string) string { return with(`"networking":{"default":{` + fields + `}}`) }

const reservedText = "pod_id: pod_id overlaps with reserved pod ids: ['catalog', 'catalogs', 'snapshots', 'snapshot', " +
	"'volumes', 'volume', 'admin', 'image', 'images', 'template', 'templates', 'jupyter', 'secrets', 'secret', 'stacks', " +
	"'stack', 'nodes', 'node', 'routes', 'metrics', 'gallery', 'docs', 'traefik-config', 'healthcheck', 'error-handler', " +
	"'www', 'api', 'auth', 'login']"

func TestDecodeNewPodRefusesShapes(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"an empty body", ``, []string{"body: field required; send a JSON object"}},
		{"white space only", " \n", []string{"body: field required; send a JSON object"}},
		{"no JSON", `pod_id=mypod`, []string{"body: value is not valid JSON: invalid character 'p' looking for beginning of value at byte 1"}},
		{"cut JSON", `{"pod_id":"my`, []string{"body: value is not valid JSON: unexpected end of JSON input at byte 13"}},
		{"two objects", `{}{}`, []string{"body: value is not valid JSON: invalid character '{' after top-level value at byte 3"}},
		{"a comma before the end", `{"pod_id":"mypod",}`, []string{"body: value is not valid JSON: invalid character '}' looking for beginning of object key string at byte 19"}},
		{"bytes that are not UTF-8", "{\"pod_id\":\"\xff\"}", []string{"body: value is not valid JSON: it is not UTF-8"}},
		{"a list", `[]`, []string{"body: value is not a valid dict; a JSON object was expected. Got list."}},
		{"a string", `"mypod"`, []string{"body: value is not a valid dict; a JSON object was expected. Got str."}},
		{"null", `null`, []string{"body: value is not a valid dict; a JSON object was expected. Got NoneType."}},
		{"an empty object", `{}`, []string{"body, pod_id: field required", "__root__: image is required if template is not provided."}},
		{"an unknown field", with(`"bogus":1`), []string{"body, bogus: extra fields not permitted"}},
		{"a field in another case", with(`"Description":"x"`), []string{"body, Description: extra fields not permitted"}},
		{"fields that the service sets", with(`"status":"AVAILABLE","tenant_id":"dev"`), []string{
			"body, status: extra fields not permitted", "body, tenant_id: extra fields not permitted",
		}},
		{"a key given twice", `{"pod_id":"mypod","pod_id":"other","image":"nginx"}`, []string{"body, pod_id: the key is given twice"}},
		{"a deep key given twice", netWith(`"port":80,"port":81`), []string{"body, networking, default, port: the key is given twice"}},
		{"a NUL in a value", with(`"description":"a\u0000b"`), []string{"body, description: NUL characters are not allowed"}},
		{"a NUL in an element", with(`"command":["a\u0000b"]`), []string{"body, command: NUL characters are not allowed"}},
		{"a NUL in an environment value", with(`"environment_variables":{"A":"secret\u0000"}`), []string{"body, environment_variables, A: NUL characters are not allowed"}},
		{"nesting of 33 levels", strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), []string{"body: value is nested deeper than 32 levels"}},
		{"nesting of lists", `{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}", []string{"body: value is nested deeper than 32 levels"}},
		{
			"everything of a wrong type",
			`{"pod_id":1,"image":[],"template":{},"description":false,"command":"x","arguments":[1,"a",null],` +
				`"environment_variables":[],"volume_mounts":"v","time_to_stop_default":"60","time_to_stop_instance":1.5,` +
				`"networking":[],"resources":1,"compute_queue":3,"status_requested":true}`,
			[]string{
				"body, arguments, 0: str type expected",
				"body, arguments, 2: str type expected",
				"body, command: value is not a valid list",
				"body, compute_queue: str type expected",
				"body, description: str type expected",
				"body, environment_variables: value is not a valid dict",
				"body, image: str type expected",
				"body, networking: value is not a valid dict",
				"body, pod_id: str type expected",
				"body, resources: value is not a valid dict",
				"body, status_requested: str type expected",
				"body, template: str type expected",
				"body, time_to_stop_default: value is not a valid integer",
				"body, time_to_stop_instance: value is not a valid integer",
				"body, volume_mounts: value is not a valid dict",
			},
		},
		{"null where there is nothing to clear", with(`"description":null,"environment_variables":null`), []string{
			"body, description: none is not an allowed value; leave the field out",
			"body, environment_variables: none is not an allowed value; leave the field out",
		}},
		{"null for what is always needed", `{"pod_id":null,"template":"jupyterlab","status_requested":null}`, []string{
			"body, pod_id: none is not an allowed value; leave the field out",
			"body, status_requested: none is not an allowed value; leave the field out",
		}},
		{"resources with units", with(`"resources":{"cpu_request":"250m","mem_limit":"1Gi","gpus":"1","disk":1}`), []string{
			"body, resources, cpu_request: value is not a valid integer; give a number of millicores without quotes and unit",
			"body, resources, disk: extra fields not permitted",
			"body, resources, gpus: value is not a valid integer",
			"body, resources, mem_limit: value is not a valid integer; give a number of MiB without quotes and unit",
		}},
		{"a number that no integer can hold", with(`"time_to_stop_default":99999999999999999999`), []string{
			"body, time_to_stop_default: value is not a valid integer",
		}},
		{"networking with parts of a wrong type", with(`"networking":{"default":{"port":"80","protocol":1,"tapis_auth":"yes","ip_allow_list":"::1","tapis_auth_response_headers":{"A":1},"x":1},"browser":3}`), []string{
			"body, networking, browser: value is not a valid dict",
			"body, networking, default, ip_allow_list: value is not a valid list",
			"body, networking, default, port: value is not a valid integer",
			"body, networking, default, protocol: str type expected",
			"body, networking, default, tapis_auth: value could not be parsed to a boolean",
			"body, networking, default, tapis_auth_response_headers, A: str type expected",
			"body, networking, default, x: extra fields not permitted",
		}},
		{"null for a networking entry", with(`"networking":{"default":null}`), []string{
			"body, networking, default: none is not an allowed value; leave the field out",
		}},
		{"volume mounts with parts of a wrong type", with(`"volume_mounts":{"data":{"type":1,"x":2},"more":[]}`), []string{
			"body, volume_mounts, data, type: str type expected",
			"body, volume_mounts, data, x: extra fields not permitted",
			"body, volume_mounts, more: value is not a valid dict",
		}},
		{"an older name beside its newer one", with(`"template":"a1b","pod_template":"a1b","routing_port":80,"networking":{"default":{}},"persistent_volume":true,"volume_mounts":{}`), []string{
			"body, persistent_volume: can't be combined with volume_mounts; use a mount of type 'pvc'",
			"body, pod_template: can't be combined with image; use template",
			"body, pod_template: can't be combined with template, its newer name; leave it out",
			"body, routing_port: can't be combined with networking; use networking.default.port",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeNewPod([]byte(c.body), DefaultSettings())
			wantProblems(t, err, c.want...)
			if !reflect.DeepEqual(got, NewPod{}) {
				t.Errorf("got %+v beside the error, want nothing", got)
			}
		})
	}
}

func TestDecodeNewPodRefusesValues(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	id := func(s string) string { return fmt.Sprintf(`{"pod_id":%q,"image":"nginx"}`, s) }
	const idText = "pod_id: pod_id must be lowercase alphanumeric. First character must be alpha."
	const keyText = "volume_mounts: volume_mounts key must be lowercase alphanumeric. First character must be alpha. "
	mount := func(key, fields string) string { return with(fmt.Sprintf(`"volume_mounts":{%q:{%s}}`, key, fields)) }
	const address = "body, networking, default, ip_allow_list: networking.ip_allow_list must hold IP addresses or prefixes such as " +
		"192.0.2.7, 192.0.2.0/24 or 2001:db8::/32; leave it empty to allow everyone. Got "
	const headerLoc = "body, networking, default, tapis_auth_response_headers: networking.tapis_auth_response_headers "
	const pattern = "body, networking, default, tapis_auth_excluded_path_regex: networking.tapis_auth_excluded_path_regex must hold regular expressions " +
		"in RE2 syntax (without look-around and back-references), of at most 512 characters each and without large nested counts. Got "
	const returnPath = "body, networking, default, tapis_auth_return_path: networking.tapis_auth_return_path must start with one '/' and consist of " +
		"letters, digits, '.', '-', '_' and '/', at most 180 characters. Got "
	const origin = "body, networking, default, cors_allow_origins: networking.cors_allow_origins must hold lowercase origins such as " +
		"https://portal.example.org, without a path, or '*'. Got "
	const uiURI = "body, networking, default, tapis_ui_uri: networking.tapis_ui_uri must start with '/' and a lowercase letter and consist of " +
		"lowercase letters, digits, '.', '-' and '/', at most 128 characters. Got "
	const bounds = " User requires extra role to break bounds. Contact admin."
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"an id with a capital", id("myPod"), []string{idText}},
		{"an id with a dash", id("my-pod"), []string{idText}},
		{"an id with an underscore", id("my_pod"), []string{idText}},
		{"an id with a dot", id("my.pod"), []string{idText}},
		{"an id that starts with a digit", id("1pod"), []string{idText}},
		{"an id with a letter outside ASCII", id("pöd"), []string{idText}},
		{"an id with a line break", id("mypod\n"), []string{idText}},
		{"an empty id", id(""), []string{"pod_id: pod_id length must be between 3-64 characters. Inputted length: 0"}},
		{"an id of 2 characters", id("ab"), []string{"pod_id: pod_id length must be between 3-64 characters. Inputted length: 2"}},
		{"an id of 65 characters", id(long(65)), []string{"pod_id: pod_id length must be between 3-64 characters. Inputted length: 65"}},
		{"a reserved id", id("templates"), []string{reservedText}},
		{"a reserved id that no pattern admits", id("traefik-config"), []string{reservedText}},

		{"no image", `{"pod_id":"mypod"}`, []string{"__root__: image is required if template is not provided."}},
		{"an empty image", `{"pod_id":"mypod","image":""}`, []string{"__root__: image is required if template is not provided."}},
		{"an image that is none", `{"pod_id":"mypod","image":"Not An Image"}`, []string{
			"image: image must look like [registry[:port]/]name[:tag][@digest] with a lowercase name",
		}},
		{"a template with a timestamp and no tag", `{"pod_id":"mypod","template":"jupyterlab@2025-01-30-17:14:14"}`, []string{
			"template: User specified @timestamp without :tag. Template should be formated as 'template_name:template_tag@tag_timestamp'. Got jupyterlab@2025-01-30-17:14:14",
		}},
		{"an empty older template name", `{"pod_id":"mypod","pod_template":""}`, []string{"__root__: image is required if template is not provided."}},

		{"a description outside ASCII", with(`"description":"größer"`), []string{"description: description field may only contain ASCII characters."}},
		{"a description of 256 characters", with(`"description":"` + long(256) + `"`), []string{
			"description: description field must be less than 255 characters. Inputted length: 256",
		}},
		{"a description that is both", with(`"description":"` + strings.Repeat("ö", 300) + `"`), []string{
			"description: description field may only contain ASCII characters.",
			"description: description field must be less than 255 characters. Inputted length: 300",
		}},

		{"environment values that are no strings", with(`"environment_variables":{"A":1,"B":true,"C":null,"D":[],"E":{},"F":1.5}`), []string{
			"environment_variables, A: environment_variable val must be str. Got int.",
			"environment_variables, B: environment_variable val must be str. Got bool.",
			"environment_variables, C: environment_variable val must be str. Got NoneType.",
			"environment_variables, D: environment_variable val must be str. Got list.",
			"environment_variables, E: environment_variable val must be str. Got dict.",
			"environment_variables, F: environment_variable val must be str. Got float.",
		}},
		{"environment names that no container can have", with(`"environment_variables":{"A=B":"x","1A":"x","":"x","A B":"x"}`), []string{
			"environment_variables, : environment_variable name must consist of letters, digits, '_', '-' and '.' and must not start with a digit.",
			"environment_variables, 1A: environment_variable name must consist of letters, digits, '_', '-' and '.' and must not start with a digit.",
			"environment_variables, A B: environment_variable name must consist of letters, digits, '_', '-' and '.' and must not start with a digit.",
			"environment_variables, A=B: environment_variable name must consist of letters, digits, '_', '-' and '.' and must not start with a digit.",
		}},

		{"an unknown wish", with(`"status_requested":"on"`), []string{
			"status_requested: status_requested must be one of the following: ['ON', 'OFF', 'RESTART']. Got 'on'.",
		}},
		{"times to stop that are too short", with(`"time_to_stop_default":299,"time_to_stop_instance":-2`), []string{
			"time_to_stop_default: Pod time_to_stop_default must be -1 or be greater than 300 seconds.",
			"time_to_stop_instance: Pod time_to_stop_instance must be -1 or be greater than 300 seconds.",
		}},
		{"a time to stop that no clock can hold", with(`"time_to_stop_default":9999999999`), []string{
			"time_to_stop_default: Pod time_to_stop_default must be at most 3153600000 seconds. Use -1 for no limit. Got 9999999999.",
		}},
		{"an unknown queue", with(`"compute_queue":"gpu"`), []string{
			"compute_queue: compute_queue must be in compute_queues list in cluster configuration. Choose one of ['default'].",
		}},

		{"resources below the bounds", with(`"resources":{"cpu_request":249,"cpu_limit":1,"mem_request":0,"mem_limit":-1,"gpus":-1}`), []string{
			"body, resources, cpu_limit: resources.cpu_x out of bounds. Received: 1. Maximum: 6000. Minimum: 250." + bounds,
			"body, resources, cpu_request: resources.cpu_x out of bounds. Received: 249. Maximum: 6000. Minimum: 250." + bounds,
			"body, resources, gpus: resources.gpus out of bounds. Received: -1. Maximum: 1. Minimum: 0." + bounds,
			"body, resources, mem_limit: resources.mem_x out of bounds. Received: -1. Maximum: 12288. Minimum: 256." + bounds,
			"body, resources, mem_request: resources.mem_x out of bounds. Received: 0. Maximum: 12288. Minimum: 256." + bounds,
		}},
		{"resources above the bounds", with(`"resources":{"cpu_limit":6001,"mem_limit":12289,"gpus":2}`), []string{
			"body, resources, cpu_limit: resources.cpu_x out of bounds. Received: 6001. Maximum: 6000. Minimum: 250." + bounds,
			"body, resources, gpus: resources.gpus out of bounds. Received: 2. Maximum: 1. Minimum: 0." + bounds,
			"body, resources, mem_limit: resources.mem_x out of bounds. Received: 12289. Maximum: 12288. Minimum: 256." + bounds,
		}},
		{"a memory limit below the bounds and the default request", with(`"resources":{"mem_limit":200}`), []string{
			"body, resources, mem_limit: resources.mem_x out of bounds. Received: 200. Maximum: 12288. Minimum: 256." + bounds,
		}},
		{"a request above the default limit", with(`"resources":{"cpu_request":3000}`), []string{
			"body, resources, cpu_request: resources.cpu_x found cpu_request(3000) > cpu_limit(2000). Request must be less than or equal to limit.",
		}},

		{"a mount key with a dash", mount("my-data", `"type":"pvc"`), []string{keyText + "Got 'my-data'."}},
		{"a mount key of one letter", mount("a", `"type":"pvc"`), []string{keyText + "Got 'a'."}},
		{"a mount key of 129 letters", mount(long(129), `"type":"pvc"`), []string{
			"volume_mounts: volume_mounts key length must be at most 128 characters. Inputted length: 129",
		}},
		{"a mount keyed by its path that does not say what it mounts", mount("/data", `"type":"pvc"`), []string{
			"body, volume_mounts, /data, source_id: volumemount.source_id is required if the key is a path: " +
				"the id of the volume or snapshot, or the name of the claim.",
		}},
		{"a path as key that is no place to mount", mount("/a/../b", `"type":"pvc","source_id":"data"`), []string{
			"body, volume_mounts, /a/../b, mount_path: volumemount.mount_path must be an absolute path below / without '..' and ':'. Got /a/../b.",
			"volume_mounts: volume_mounts key that is a path must be absolute, below / and without '..' and ':'. Got /a/../b.",
		}},
		{"two paths for one mount", mount("/data", `"type":"pvc","source_id":"data","mount_path":"/x"`), []string{
			"body, volume_mounts, /data, mount_path: volumemount.mount_path differs from the key. Leave it out if the key is a path.",
		}},
		{"two sources of one mount", mount("data", `"type":"pvc","source_id":"other"`), []string{
			"body, volume_mounts, data, source_id: volumemount.source_id differs from the key. Use the path as key, or leave source_id out.",
		}},
		{"a placeholder that only templates have", mount("/data", `"type":"pvc","source_id":"${:?Your data}"`), []string{
			"body, volume_mounts, /data, source_id: a volume is required: Your data. Name it in template_overrides.volume_mounts as source_id.",
		}},
		{"a source that is no id", mount("/data", `"type":"pvc","source_id":"../x"`), []string{
			"body, volume_mounts, /data, source_id: volumemount.source_id must be lowercase alphanumeric. First character must be alpha. Got '../x'.",
		}},
		{"a mount without a type", mount("data", ``), []string{
			"body, volume_mounts, data, type: volumemount.type must be one of the following: ['tapisvolume', 'tapissnapshot', 'pvc', 'ephemeral'].",
		}},
		{"a mount that leaves its folder", mount("data", `"type":"pvc","mount_path":"/a/../../etc","sub_path":"../other"`), []string{
			"body, volume_mounts, data, mount_path: volumemount.mount_path must be an absolute path below / without '..' and ':'. Got /a/../../etc.",
			"body, volume_mounts, data, sub_path: volumemount.sub_path must be a path inside the volume, without '..' and without a leading '/'. Got ../other.",
		}},
		{"a mount on the root", mount("data", `"type":"pvc","mount_path":"//"`), []string{
			"body, volume_mounts, data, mount_path: volumemount.mount_path must be an absolute path below / without '..' and ':'. Got //.",
		}},
		{"a relative mount", mount("data", `"type":"pvc","mount_path":"data","sub_path":"/etc"`), []string{
			"body, volume_mounts, data, mount_path: volumemount.mount_path must be an absolute path below / without '..' and ':'. Got data.",
			"body, volume_mounts, data, sub_path: volumemount.sub_path must be a path inside the volume, without '..' and without a leading '/'. Got /etc.",
		}},
		{"two mounts on one path", with(`"volume_mounts":{"data":{"type":"pvc","mount_path":"/data/"},"more":{"type":"pvc","mount_path":"/data"}}`), []string{
			"body, volume_mounts, more, mount_path: volumemount.mount_path /data is taken by 'data' already. Give each mount a path of its own.",
		}},

		{"no networking entry", with(`"networking":{}`), []string{
			"networking: networking dictionary must contain at least 1 stanza. " +
				"Leave networking out for http on port 5000, or use protocol 'local_only' for a pod without a host name.",
		}},
		{"five networking entries", with(`"networking":{"aaa":{},"bbb":{},"ccc":{},"ddd":{},"eee":{}}`), []string{
			"networking: networking dictionary may only contain up to 4 stanzas",
		}},
		{"networking keys that make no host", with(`"networking":{"My-Key":{},"ab":{},"":{}}`), []string{
			"networking: networking key length must be between 3-64 characters. Inputted length: 0",
			"networking: networking key length must be between 3-64 characters. Inputted length: 2",
			"networking: networking key must be lowercase alphanumeric. Got 'My-Key'.",
		}},
		{"an unknown protocol", netWith(`"protocol":"udp"`), []string{
			"body, networking, default, protocol: networking.protocol must be one of the following: ['http', 'tcp', 'postgres', 'local_only'].",
		}},
		{"answers without a template", with(`"template_overrides":{"secret_map":{"A":"b"}}`), []string{
			"template_overrides: the pod has no template; set the fields themselves.",
		}},
		{"a port of one digit", netWith(`"port":5`), []string{"body, networking, default, port: networking.port must have 2 to 5 digits. Got port: 5"}},
		{"a port of six digits", netWith(`"port":100000`), []string{"body, networking, default, port: networking.port must have 2 to 5 digits. Got port: 100000"}},
		{"a port that does not exist", netWith(`"port":65536`), []string{"body, networking, default, port: networking.port must be at most 65535. Got port: 65536"}},
		{"a url that is none", netWith(`"url":"https://x"`), []string{
			"body, networking, default, url: networking.url must be a host name of at most 128 characters; it is set by the service, leave it out",
		}},
		{"an address of everyone", netWith(`"ip_allow_list":["*"]`), []string{address + "'*'"}},
		{"an address that is out of range", netWith(`"ip_allow_list":["10.0.0.1","300.1.1.1"]`), []string{address + "'300.1.1.1'"}},
		{"a prefix that is too long", netWith(`"ip_allow_list":["10.0.0.0/33"]`), []string{address + "'10.0.0.0/33'"}},
		{"a host name as an address", netWith(`"ip_allow_list":["example.org"]`), []string{address + "'example.org'"}},
		{"too many addresses", netWith(`"ip_allow_list":[` + strings.Repeat(`"::1",`, 256) + `"::1"]`), []string{
			"body, networking, default, ip_allow_list: networking.ip_allow_list may hold 256 entries at most. Got 257",
		}},
		{"a login in front of what nobody reaches", netWith(`"protocol":"local_only","tapis_auth":true`), []string{
			"body, networking, default, tapis_auth: networking.tapis_auth can't be used with protocol 'local_only', which nobody reaches from outside.",
		}},
		{"header names that are none", netWith(`"tapis_auth_response_headers":{"X User":"a","":"b"}`), []string{
			headerLoc + "name must be a header name of at most 128 characters (RFC 7230 token). Got ''",
			headerLoc + "name must be a header name of at most 128 characters (RFC 7230 token). Got 'X User'",
		}},
		{"a header that frames the request", netWith(`"tapis_auth_response_headers":{"Transfer-Encoding":"a"}`), []string{
			headerLoc + "can't set transfer-encoding: it belongs to the connection",
		}},
		{"one header in two cases", netWith(`"tapis_auth_response_headers":{"X-User":"a","x-user":"b"}`), []string{
			headerLoc + "holds x-user twice, in different case",
		}},
		{"a header value with a line break", netWith(`"tapis_auth_response_headers":{"X-User":"a\r\nX-Admin: 1"}`), []string{
			headerLoc + "value of 'X-User' must have at most 1024 characters and no line breaks or other control characters",
		}},
		{"a header value of 1025 characters", netWith(`"tapis_auth_response_headers":{"X-User":"` + long(1025) + `"}`), []string{
			headerLoc + "value of 'X-User' must have at most 1024 characters and no line breaks or other control characters",
		}},
		{"33 headers", netWith(`"tapis_auth_response_headers":` + manyHeaders(33)), []string{headerLoc + "may hold 32 entries at most. Got 33"}},
		{"users that no name can be", netWith(`"tapis_auth_allowed_users":["alice","bob smith"]`), []string{
			"body, networking, default, tapis_auth_allowed_users: networking.tapis_auth_allowed_users must hold user names, '*' for everyone with a login, " +
				"or AUTHORIZED_READS, AUTHORIZED_USERS, AUTHORIZED_ADMINS. Got 'bob smith'",
		}},
		{"a return path to another host", netWith(`"tapis_auth_return_path":"//evil.example.org"`), []string{returnPath + "//evil.example.org"}},
		{"a return path with a query", netWith(`"tapis_auth_return_path":"/a?b=c"`), []string{returnPath + "/a?b=c"}},
		{"a return path that is empty", netWith(`"tapis_auth_return_path":""`), []string{returnPath}},
		{"an excluded path that is relative", netWith(`"tapis_auth_excluded_paths":["/ok","static/"]`), []string{
			"body, networking, default, tapis_auth_excluded_paths: networking.tapis_auth_excluded_paths must hold ASCII paths that start with '/', of at most 256 characters each. Got 'static/'",
		}},
		{"a pattern with look-ahead", netWith(`"tapis_auth_excluded_path_regex":["^/(?!admin)"]`), []string{pattern + "'^/(?!admin)'"}},
		{"a pattern that does not compile", netWith(`"tapis_auth_excluded_path_regex":["/("]`), []string{pattern + "'/('"}},
		{"a pattern that is short and huge", netWith(`"tapis_auth_excluded_path_regex":["((a{100}){100}){100}"]`), []string{pattern + "'((a{100}){100}){100}'"}},
		{"a pattern of 513 characters", netWith(`"tapis_auth_excluded_path_regex":["` + long(513) + `"]`), []string{pattern + "'" + long(128) + "...'"}},
		{"an origin with a path", netWith(`"cors_allow_origins":["https://example.org/"]`), []string{origin + "'https://example.org/'"}},
		{"an origin without a scheme", netWith(`"cors_allow_origins":["example.org"]`), []string{origin + "'example.org'"}},
		{"every origin with credentials", netWith(`"cors_allow_origins":["*"],"cors_allow_credentials":true`), []string{
			"body, networking, default, cors_allow_credentials: networking.cors_allow_credentials can't be combined with the origin '*'. List the origins that may send credentials.",
		}},
		{"CORS in front of postgres", netWith(`"protocol":"postgres","cors_allow_origins":["*"]`), []string{
			"body, networking, default, cors_allow_origins: networking.cors_allow_origins can only be used with protocol 'http'. Got protocol postgres.",
		}},
		{"CORS lists that are no tokens", netWith(`"cors_allow_methods":["GET,POST"],"cors_allow_headers":["X Y"]`), []string{
			"body, networking, default, cors_allow_headers: networking.cors_allow_headers must hold header names such as Content-Type. Got 'X Y'",
			"body, networking, default, cors_allow_methods: networking.cors_allow_methods must hold HTTP methods such as GET. Got 'GET,POST'",
		}},
		{"a CORS age above 100", netWith(`"cors_max_age":101`), []string{
			"body, networking, default, cors_max_age: networking.cors_max_age must be between 0 and 100 seconds. Got 101",
		}},
		{"compression that the edge can't make", netWith(`"proxy_compression_encodings":["deflate"]`), []string{
			"body, networking, default, proxy_compression_encodings: networking.proxy_compression_encodings must hold some of zstd, br and gzip, " +
				"the preferred first; set proxy_compression to false for none. Got 'deflate'",
		}},
		{"a content type that is none", netWith(`"proxy_compression_excluded_content_types":["html"]`), []string{
			"body, networking, default, proxy_compression_excluded_content_types: networking.proxy_compression_excluded_content_types must hold " +
				"content types such as text/event-stream, of at most 128 characters each. Got 'html'",
		}},
		{"a size that is negative", netWith(`"proxy_compression_min_response_body_bytes":-1`), []string{
			"body, networking, default, proxy_compression_min_response_body_bytes: networking.proxy_compression_min_response_body_bytes must be between 0 and 10485760. Got -1",
		}},
		{"a UI path to another host", netWith(`"tapis_ui_uri":"//evil"`), []string{uiURI + "//evil"}},
		{"a UI path with a capital", netWith(`"tapis_ui_uri":"/Lab"`), []string{uiURI + "/Lab"}},
		{"a UI description outside ASCII", netWith(`"tapis_ui_uri_description":"ä"`), []string{
			"body, networking, default, tapis_ui_uri_description: tapis_ui_uri_description field may only contain ASCII characters.",
		}},
		{"an entry that is too large in sum", netWith(`"tapis_auth_allowed_users":[` + strings.Repeat(`"`+long(100)+`",`, 499) + `"a"]`), []string{
			"body, networking, default: networking object is too large: 52215 bytes of JSON, at most 40960 are allowed. Shorten its lists.",
		}},
		{
			"problems of all stages", `{"pod_id":"X","bogus":1,"description":"ä","networking":{"default":{"port":1}}}`,
			[]string{
				"body, bogus: extra fields not permitted",
				"body, networking, default, port: networking.port must have 2 to 5 digits. Got port: 1",
				"description: description field may only contain ASCII characters.",
				"pod_id: pod_id must be lowercase alphanumeric. First character must be alpha.",
				"__root__: image is required if template is not provided.",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeNewPod([]byte(c.body), DefaultSettings())
			wantProblems(t, err, c.want...)
		})
	}
}

func manyHeaders(n int) string {
	m := make(map[string]string)
	for i := range n {
		m[fmt.Sprintf("X-%d", i)] = "v"
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func TestDecodeNewPodBoundsItsMessages(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, `"x%04d":1,`, i)
	}
	_, err := DecodeNewPod([]byte(with(b.String()+`"y":1`)), DefaultSettings())
	got := problemsOf(t, err)
	if len(got) != maxProblems+1 {
		t.Fatalf("got %d messages, want %d", len(got), maxProblems+1)
	}
	if want := "body, x0000: extra fields not permitted"; got[0] != want {
		t.Errorf("got %q first, want %q", got[0], want)
	}
	if want := "__root__: 4951 more problems"; got[maxProblems] != want {
		t.Errorf("got %q last, want %q", got[maxProblems], want)
	}
}

func TestProblemsNeverShowEnvironmentValues(t *testing.T) {
	const secret = "swordfish"
	body := `{"pod_id":"X","environment_variables":{"1A":"` + secret + `","B=":"` + secret + `","C":1,"` +
		pullSecretVariable + `":"` + secret + `","D":["` + secret + `"]},"command":["` + secret + `",1]}`
	_, err := DecodeNewPod([]byte(body), DefaultSettings())
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v, want an error without the value", err)
	}
}

func TestDecodeNewPodAccepts(t *testing.T) {
	queues := DefaultSettings()
	queues.ComputeQueues = []string{"default", "gpu"}
	for _, c := range []struct {
		name, body string
		want       NewPod
	}{
		{"the smallest pod", `{"pod_id":"mypod","image":"nginx"}`, NewPod{
			ID: "mypod", Requested: On, Definition: Definition{Image: Set("nginx")},
		}},
		{"a pod that stays off", with(`"status_requested":"OFF"`), NewPod{
			ID: "mypod", Requested: Off, Definition: Definition{Image: Set("podway/hello")},
		}},
		{"a template without an image", `{"pod_id":"mypod","template":"jupyterlab:latest"}`, NewPod{
			ID: "mypod", Requested: On, Definition: Definition{Template: Set("jupyterlab:latest")},
		}},
		{"null that clears what a template gives", `{"pod_id":"mypod","template":"jupyterlab","description":null,"networking":{"default":{"port":null}},"resources":{"gpus":null}}`, NewPod{
			ID: "mypod", Requested: On, Definition: Definition{
				Template: Set("jupyterlab"), Description: Null[string](),
				Networking: Set(map[string]NetDef{"default": {Port: Null[int]()}}),
				Resources:  Set(ResourcesDef{GPUs: Null[int]()}),
			},
		}},
		{"null where it is a value", with(`"command":null,"arguments":null,"time_to_stop_instance":null`), NewPod{
			ID: "mypod", Requested: On, Definition: Definition{
				Image: Set("podway/hello"), Command: Null[[]string](), Arguments: Null[[]string](), TimeToStopInstance: Null[int](),
			},
		}},
		{"older forms", `{"pod_id":"mypod","pod_template":"template/neo4j:4","routing_port":7687,"persistent_volume":true}`, NewPod{
			ID: "mypod", Requested: On,
			Definition: Definition{Networking: Set(map[string]NetDef{"default": {Port: Set(7687)}})},
			Older:      OlderForms{PodTemplate: "template/neo4j:4", PersistentVolume: true},
		}},
		{"no persistent volume", with(`"persistent_volume":false`), NewPod{
			ID: "mypod", Requested: On, Definition: Definition{Image: Set("podway/hello")},
		}},
		{"words in any case", with(`"networking":{"default":{"protocol":"TCP"}},"volume_mounts":{"data":{"type":"PVC"}}`), NewPod{
			ID: "mypod", Requested: On, Definition: Definition{
				Image:        Set("podway/hello"),
				Networking:   Set(map[string]NetDef{"default": {Protocol: Set("tcp")}}),
				VolumeMounts: Set(map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/tapis_volume_mount"}}),
			},
		}},
		{
			"every field",
			`{"pod_id":"a23","image":"localhost:5000/x/y:1@sha256:` + strings.Repeat("a", 64) + `","template":"","description":"all of it",
			"command":["sleep","5000"],"arguments":[],"environment_variables":{"A_b.c-d":"ünï\n<<TAPIS_user_password>>"},"status_requested":"RESTART",
			"volume_mounts":{"data":{"type":"tapisvolume","mount_path":"/data","sub_path":"a/b"}},
			"time_to_stop_default":-1,"time_to_stop_instance":300,
			"networking":{"default":{"protocol":"http","port":65535,"url":"a23.pods.dev.localhost","ip_allow_list":["10.0.0.1","10.0.0.0/8","2001:db8::/32","::1"],
				"tapis_auth":true,"tapis_auth_response_headers":{"X-Tapis-Username":"<<tapisusername>>@tapis.io","OAUTH2_USERNAME_KEY":"username"},
				"tapis_auth_allowed_users":["*","alice","AUTHORIZED_USERS"],"tapis_auth_return_path":"/lab/tree",
				"tapis_auth_excluded_paths":["/static/"],"tapis_auth_excluded_path_regex":["^/public/[0-9]{1,8}$"],
				"cors_allow_origins":["https://portal.example.org","http://localhost:3000"],"cors_allow_methods":["GET","*"],"cors_allow_headers":["X-Tapis-Token"],
				"cors_allow_credentials":true,"cors_max_age":0,"proxy_compression":false,"proxy_compression_encodings":["gzip"],
				"proxy_compression_excluded_content_types":["text/event-stream"],"proxy_compression_min_response_body_bytes":0,
				"tapis_ui_uri":"/lab/index.html","tapis_ui_uri_redirect":true,"tapis_ui_uri_description":"the lab"}},
			"resources":{"cpu_request":250,"cpu_limit":6000,"mem_request":256,"mem_limit":12288,"gpus":1},"compute_queue":"gpu"}`,
			NewPod{ID: "a23", Requested: Restart, Definition: Definition{
				Image: Set("localhost:5000/x/y:1@sha256:" + strings.Repeat("a", 64)), Template: Set(""), Description: Set("all of it"),
				Command: Set([]string{"sleep", "5000"}), Arguments: Set([]string{}),
				EnvironmentVariables: Set(map[string]string{"A_b.c-d": "ünï\n<<TAPIS_user_password>>"}),
				VolumeMounts:         Set(map[string]VolumeMount{"data": {Type: "tapisvolume", MountPath: "/data", SubPath: "a/b"}}),
				TimeToStopDefault:    Set(-1), TimeToStopInstance: Set(300),
				Networking: Set(map[string]NetDef{"default": {
					Protocol: Set("http"), Port: Set(65535), IPAllowList: Set([]string{"10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "::1"}),
					TapisAuth:                Set(true),
					TapisAuthResponseHeaders: Set(map[string]string{"X-Tapis-Username": "<<tapisusername>>@tapis.io", "OAUTH2_USERNAME_KEY": "username"}),
					TapisAuthAllowedUsers:    Set([]string{"*", "alice", "AUTHORIZED_USERS"}), TapisAuthReturnPath: Set("/lab/tree"),
					TapisAuthExcludedPaths: Set([]string{"/static/"}), TapisAuthExcludedPathRegex: Set([]string{"^/public/[0-9]{1,8}$"}),
					CORSAllowOrigins: Set([]string{"https://portal.example.org", "http://localhost:3000"}),
					CORSAllowMethods: Set([]string{"GET", "*"}), CORSAllowHeaders: Set([]string{"X-Tapis-Token"}),
					CORSAllowCredentials: Set(true), CORSMaxAge: Set(0), ProxyCompression: Set(false),
					ProxyCompressionEncodings: Set([]string{"gzip"}), ProxyCompressionExcludedContent: Set([]string{"text/event-stream"}),
					ProxyCompressionMinResponseBodySize: Set(0),
					TapisUIURI:                          Set("/lab/index.html"), TapisUIURIRedirect: Set(true), TapisUIURIDescription: Set("the lab"),
				}}),
				Resources:    Set(ResourcesDef{CPURequest: Set(250), CPULimit: Set(6000), MemRequest: Set(256), MemLimit: Set(12288), GPUs: Set(1)}),
				ComputeQueue: Set("gpu"),
			}},
		},
		{"limits reached exactly", `{"pod_id":"` + strings.Repeat("a", 64) + `","image":"nginx","description":"` + strings.Repeat("d", 255) + `",` +
			`"networking":{"abc":{"port":10},"default":{},"x23":{},"zzz":{}}}`, NewPod{
			ID: ID(strings.Repeat("a", 64)), Requested: On, Definition: Definition{
				Image: Set("nginx"), Description: Set(strings.Repeat("d", 255)),
				Networking: Set(map[string]NetDef{"abc": {Port: Set(10)}, "default": {}, "x23": {}, "zzz": {}}),
			},
		}},
		// A value that a template may make right is not judged before the template
		// is known.
		{"a request that a template's limit may admit", `{"pod_id":"mypod","template":"big","resources":{"cpu_request":3000}}`, NewPod{
			ID: "mypod", Requested: On, Definition: Definition{
				Template: Set("big"), Resources: Set(ResourcesDef{CPURequest: Set(3000)}),
			},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeNewPod([]byte(c.body), queues)
			if err != nil {
				t.Fatalf("got error %v", err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestDecodePodPatch(t *testing.T) {
	off := Off
	for _, c := range []struct {
		name, body string
		want       PodPatch
		problems   []string
	}{
		{name: "nothing", body: `{}`},
		{name: "a wish", body: `{"status_requested":"OFF"}`, want: PodPatch{Requested: &off}},
		{name: "no wish", body: `{"status_requested":null}`},
		{name: "a field", body: `{"description":"new"}`, want: PodPatch{Definition: Definition{Description: Set("new")}}},
		{name: "null for any field", body: `{"description":null,"image":null,"networking":null}`, want: PodPatch{Definition: Definition{
			Description: Null[string](), Image: Null[string](), Networking: Null[map[string]NetDef](),
		}}},
		{name: "fields that 1.9.0 has at create only", body: `{"image":"nginx","template":"abc:latest","arguments":["a"],"compute_queue":"default"}`, want: PodPatch{Definition: Definition{
			Image: Set("nginx"), Template: Set("abc:latest"), Arguments: Set([]string{"a"}), ComputeQueue: Set("default"),
		}}},
		{name: "a pair that depends on what is stored", body: `{"resources":{"cpu_request":3000}}`, want: PodPatch{Definition: Definition{
			Resources: Set(ResourcesDef{CPURequest: Set(3000)}),
		}}},
		{name: "an id", body: `{"pod_id":"other"}`, problems: []string{"body, pod_id: extra fields not permitted"}},
		{name: "older names", body: `{"pod_template":"abc","routing_port":80}`, problems: []string{
			"body, pod_template: extra fields not permitted", "body, routing_port: extra fields not permitted",
		}},
		{name: "no body", body: ``, problems: []string{"body: field required; send a JSON object"}},
		{name: "values that are wrong", body: `{"description":"ä","status_requested":"X","networking":{"default":{"port":1}},"time_to_stop_default":0}`, problems: []string{
			"body, networking, default, port: networking.port must have 2 to 5 digits. Got port: 1",
			"description: description field may only contain ASCII characters.",
			"status_requested: status_requested must be one of the following: ['ON', 'OFF', 'RESTART']. Got 'X'.",
			"time_to_stop_default: Pod time_to_stop_default must be -1 or be greater than 300 seconds.",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodePodPatch([]byte(c.body), DefaultSettings())
			wantProblems(t, err, c.problems...)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestPatchReplacesWholeFields(t *testing.T) {
	stored := Definition{
		Image: Set("nginx"), Description: Set("old"), Template: Set("abc"),
		EnvironmentVariables: Set(map[string]string{"A": "1", "B": "2"}),
		Resources:            Set(ResourcesDef{CPULimit: Set(3000), GPUs: Set(1)}),
	}
	patch := PodPatch{Definition: Definition{
		Template:             Null[string](),
		EnvironmentVariables: Set(map[string]string{"C": "3"}),
		Resources:            Set(ResourcesDef{MemLimit: Set(4096)}),
	}}
	want := Definition{
		Image: Set("nginx"), Description: Set("old"), Template: Null[string](),
		EnvironmentVariables: Set(map[string]string{"C": "3"}),
		Resources:            Set(ResourcesDef{MemLimit: Set(4096)}),
	}
	if got := patch.Apply(stored); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeGrant(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       Grant
		problems   []string
	}{
		{name: "a grant", body: `{"user":"alice","level":"READ"}`, want: Grant{User: "alice", Level: LevelRead}},
		{name: "nothing", body: `{}`, problems: []string{"body, level: field required", "body, user: field required"}},
		{name: "null and an unknown field", body: `{"user":null,"level":1,"x":1}`, problems: []string{
			"body, level: str type expected",
			"body, user: none is not an allowed value; leave the field out",
			"body, x: extra fields not permitted",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeGrant([]byte(c.body))
			wantProblems(t, err, c.problems...)
			if err == nil && got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// FuzzDecodeNewPod checks what holds for every body: either there are problems,
// each with a location, or the pod can be stored, read back, resolved and
// routed.
func FuzzDecodeNewPod(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, with(`"description":"x"`), netWith(`"port":80,"tapis_auth":true`),
		netWith(`"client_ca":` + quoted(routestest.Authority)), netWith(`"cors_allow_origins":["https://a.example"],"ip_allow_list":["::1"]`),
		with(`"volume_mounts":{"/a":{"type":"pvc","source_id":"b"},"c":null}`),
		with(`"template":"abc","template_overrides":{"volume_mounts":{"/a":{"source_id":"b"}},"secret_map":{"K":"${secret:x}"}}`),
		netWith(`"tapis_auth_excluded_path_regex":["^/a{2}"],"tapis_auth_response_headers":{"X":"y"}`),
		with(`"volume_mounts":{"data":{"type":"pvc"}},"resources":{"gpus":1}`), with(`"template_overrides":{}`),
		`{"pod_id":"mypod","template":"abc:latest","description":null,"networking":{"browser":{"port":null}}}`,
		`{"pod_id":"mypod","pod_template":"abc","routing_port":80,"environment_variables":{"A":"b"}}`,
	} {
		f.Add([]byte(seed))
	}
	s := DefaultSettings()
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := DecodeNewPod(body, s)
		if err != nil {
			for _, m := range problemsOf(t, err) {
				if !strings.Contains(m, ": ") {
					t.Errorf("got message %q without a location", m)
				}
			}
			return
		}
		stored, err := json.Marshal(n.Definition)
		if err != nil {
			t.Fatal(err)
		}
		var back Definition
		if err := json.Unmarshal(stored, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, n.Definition) {
			t.Fatalf("got %+v back from the store, want %+v", back, n.Definition)
		}
		e, err := Resolve(n.ID, "dev.localhost", s, back)
		if err != nil && e.Template == "" && n.Older.PodTemplate == "" {
			t.Fatalf("got %v for a pod that was accepted", err)
		}
		if err == nil && CheckNames("dev", "dev", "dev.localhost", n.ID, e.Networking) == nil {
			checkRoutable(t, n.ID, e)
		}
	})
}
