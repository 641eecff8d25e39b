package conformance

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/pythonenv"
	"github.com/tapis-project/podway/tests/system"
)

// fuzzVariable says how many requests are made to each operation beside those
// that try the borders of each value; 250 make more than 20 000 in all (make fuzz-api).
const fuzzVariable = "PODWAY_FUZZ_EXAMPLES"

// notFuzzed are operations that must not be called with just anything, as in
// development mode pods are processes of this machine, and the one that fails
// whenever it is asked to.
var notFuzzed = []string{"exec_pod_commands", "upload_to_pod", "upload_to_jupyter", "error_handler"}

// known are objects that are there, so that not every path leads to nothing.
var known = map[string][]string{
	"pod_id": {"web", "off", "none"}, "pod_id_net": {"web", "off-default", "none"}, "template_id": {"mine", "none"}, "tag_id": {"latest", "none"},
	"volume_id": {"data", "none"}, "snapshot_id": {"copy", "none"}, "secret_id": {"key", "none"}, "image_id": {"podway/hello", "none"},
	"user": {"testadmin", "otheruser"},
}

// TestEveryAnswerIsInTheSpecification makes requests of all kinds, valid and not,
// from our specification. No answer may be a failure of the service, be outside
// of the specification, or not come.
func TestEveryAnswerIsInTheSpecification(t *testing.T) {
	python := pythonenv.Make(t, "requirements.txt")
	s := system.Start(t)
	u := s.Login("testadmin")
	u.Call(http.MethodPost, "/v3/pods", `{"pod_id":"web","image":"podway/hello"}`)
	u.Call(http.MethodPost, "/v3/pods", off("off"))
	u.Call(http.MethodPost, "/v3/pods/templates", `{"template_id":"mine"}`)
	u.Call(http.MethodPost, "/v3/pods/templates/mine/tags", `{"pod_definition":{"image":"podway/hello"},"commit_message":"x"}`)
	u.Call(http.MethodPost, "/v3/pods/volumes", `{"volume_id":"data"}`)
	u.Call(http.MethodPost, "/v3/pods/snapshots", `{"snapshot_id":"copy","source_volume_id":"data","source_volume_path":"/"}`)
	u.Call(http.MethodPost, "/v3/pods/secrets", `{"secret_id":"key","secret_value":"x","scope":"user"}`)

	file := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(file, fuzzSpecification(t), 0o600); err != nil {
		t.Fatal(err)
	}
	examples := 5
	if n, err := strconv.Atoi(os.Getenv(fuzzVariable)); err == nil {
		examples = n
	}
	args := []string{
		"-m", "schemathesis.cli", "run", file, "--url", s.URL("/v3"), "--header", "X-Tapis-Token: " + u.Token,
		"--phases", "examples,coverage,fuzzing", "--max-examples", strconv.Itoa(examples), "--request-timeout", "30", "--continue-on-failure",
		// How often it draws again for a pattern is luck, and says nothing of the API.
		"--suppress-health-check", "filter_too_much",
		"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
	}
	for _, id := range notFuzzed {
		args = append(args, "--exclude-operation-id", id)
	}
	cmd := exec.CommandContext(t.Context(), python, args...)
	cmd.Dir = t.TempDir() // it keeps notes of what it found
	cmd.Env = append(os.Environ(), "PYTHONUTF8=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-20_000):])
	}
	t.Log(regexp.MustCompile(`\d+ generated.*`).FindString(string(out)))
}

// fuzzSpecification is our specification for a program that reads it to the
// letter: times have no zone, which the format date-time would ask for, streams
// that don't end are left out, and paths lead to objects that are there.
func fuzzSpecification(t *testing.T) []byte {
	t.Helper()
	var spec map[string]any
	if err := json.Unmarshal(ours(t), &spec); err != nil {
		t.Fatal(err)
	}
	naiveTimes(spec)
	paths, _ := spec["paths"].(map[string]any)
	for _, methods := range paths {
		byMethod, _ := methods.(map[string]any)
		for method, op := range byMethod {
			if o, ok := op.(map[string]any); ok {
				o["parameters"] = fuzzParameters(method, o["parameters"])
			}
		}
	}
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func naiveTimes(v any) {
	switch v := v.(type) {
	case map[string]any:
		if v["format"] == "date-time" {
			delete(v, "format")
			v["pattern"] = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$`
		}
		for _, x := range v {
			naiveTimes(x)
		}
	case []any:
		for _, x := range v {
			naiveTimes(x)
		}
	}
}

func fuzzParameters(method string, parameters any) []any {
	list, _ := parameters.([]any)
	list = slices.DeleteFunc(list, func(p any) bool { return p.(map[string]any)["name"] == "follow" })
	for _, p := range list {
		parameter := p.(map[string]any)
		name, _ := parameter["name"].(string)
		if ids := known[name]; ids != nil && parameter["in"] == "path" && !strings.EqualFold(method, http.MethodDelete) {
			parameter["schema"] = map[string]any{"type": "string", "enum": ids}
		}
	}
	return append([]any{}, list...)
}
