package sdk

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/pythonenv"
	"github.com/tapis-project/podway/tests/system"
)

// replacement is a text of a snippet that can't be run as it is printed.
type replacement struct{ printed, run, why string }

// forEveryone is what whoever follows the documents replaces.
func forEveryone(s *system.System, neo4j string) []replacement {
	return []replacement{
		{"https://tacc.tapis.io", s.BaseURL(), "the service is another one"},
		{"your username", "testuser", "so is the user"},
		{"<userid>", "testuser", "so is the user"},
		{"your_tacc_username", "testuser", "so is the user"},
		{"your password", "testuser", "so is the password"},
		{"*********", "testuser", "so is the password"},
		{"your_tacc_password", "testuser", "so is the password"},
		{"apitest", "testuser", "so is the user"},
		{"neo4j:5.26s3se@2025-01-30-17:14:14", neo4j, "the documents say: as the list of template tags shows it"},
	}
}

var inPython = []replacement{
	{"t.pods.create_template(", "t.pods.add_template(", "the SDK has no create_template"},
	{"t.pods.create_template_tag(", "t.pods.add_template_tag(", "the SDK has no create_template_tag"},
}

var inShell = []replacement{
	{"$ curl", "curl", "the prompt is not part of the command"},
	{`", \` + "\n", `",` + "\n", "in single quotes a backslash is sent, and that is no JSON"},
	{"'X-Tapis-Token: $JWT'", `"X-Tapis-Token: $JWT"`, "in single quotes the shell fills nothing in"},
	{"TACC's", `TACC'\''s`, "a single quote ends what stands in single quotes"},
}

// snippets reads the blocks of a file, each with its title.
func snippets(t *testing.T, file string, replaced ...replacement) (titles, blocks []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("snippets", file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, r := range replaced {
		text = strings.ReplaceAll(text, r.printed, r.run)
	}
	for i, part := range strings.Split(text, "\n# -- ") {
		if i == 0 {
			continue // what the file says about itself
		}
		title, block, _ := strings.Cut(part, "\n")
		titles, blocks = append(titles, title), append(blocks, block)
	}
	return titles, blocks
}

// document starts a system in the state that the documents expect: without a
// template of the name that they create. It returns the reference that the list
// of template tags shows for the one they use.
func document(t *testing.T) (s *system.System, neo4j string) {
	t.Helper()
	s = system.Start(t)
	s.Login("testadmin").Call(http.MethodDelete, "/v3/pods/templates/mongo", "")
	var tags []struct {
		TagTimestamp string `json:"tag_timestamp"`
	}
	s.Login("testuser").Call(http.MethodGet, "/v3/pods/templates/neo4j/tags/5.26s3se", "").Into(t, &tags)
	if len(tags) == 0 {
		t.Fatal("the template neo4j has no tag 5.26s3se")
	}
	return s, "neo4j:" + tags[0].TagTimestamp
}

// checkDocument checks what the snippets have made.
func checkDocument(t *testing.T, s *system.System, neo4j string) {
	t.Helper()
	u := s.Login("testuser")
	for pod, want := range map[string]string{"docpod": "neo4j:latest@", "mypod": neo4j} {
		var p struct{ Template string }
		u.Call(http.MethodGet, "/v3/pods/"+pod, "").Into(t, &p)
		if !strings.HasPrefix(p.Template, want) {
			t.Errorf("pod %s: got template %q, want %q", pod, p.Template, want)
		}
		u.WaitStatus(pod, "AVAILABLE")
	}
	var tags []struct {
		AddedBy       string `json:"added_by"`
		PodDefinition struct {
			EnvironmentVariables map[string]string `json:"environment_variables"`
		} `json:"pod_definition"`
	}
	u.Call(http.MethodGet, "/v3/pods/templates/mongo/tags/8", "").Into(t, &tags)
	if len(tags) != 1 || tags[0].AddedBy != "testuser" || tags[0].PodDefinition.EnvironmentVariables["MONGO_INITDB_ROOT_USERNAME"] != "<TAPIS_user_username>" {
		t.Errorf("got tags %+v", tags)
	}
}

func TestPythonSnippets(t *testing.T) {
	python := pythonenv.Make(t, "requirements.txt")
	s, neo4j := document(t)
	_, blocks := snippets(t, "quickstart.py", append(forEveryone(s, neo4j), inPython...)...)
	run(t, python, "-c", strings.Join(blocks, "\n"))
	checkDocument(t, s, neo4j)
}

func TestShellSnippets(t *testing.T) {
	parts.Require(t, "curl")
	s, neo4j := document(t)
	titles, blocks := snippets(t, "quickstart.sh", append(inShell, forEveryone(s, neo4j)...)...)
	token := s.Login("testuser").Token
	for i, block := range blocks {
		t.Run(titles[i], func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "bash", "-euc", block)
			cmd.Env = append(os.Environ(), "JWT="+token)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var answer struct {
				Status  string
				Message json.RawMessage
			}
			if err := json.Unmarshal(out, &answer); err != nil || answer.Status != "success" {
				t.Errorf("got %s, %v", out, err)
			}
		})
	}
	checkDocument(t, s, neo4j)
}

// TestOlderForms sends the bodies that the introduction to pods prints, whose
// field names are those of the first versions, and one with the rest of those
// names.
func TestOlderForms(t *testing.T) {
	s := system.Start(t)
	u := s.Login("testuser")
	for pod, file := range map[string]string{"myneo4jpod": "minimal.json", "testid": "tutorial.json", "custom": "custom.json"} {
		body, err := os.ReadFile(filepath.Join("snippets", file))
		if err != nil {
			t.Fatal(err)
		}
		u.Call(http.MethodPost, "/v3/pods", string(body))
		u.WaitStatus(pod, "AVAILABLE")
	}
	var custom struct {
		Image      string
		Networking map[string]struct{ Port int }
	}
	u.Call(http.MethodGet, "/v3/pods/custom", "").Into(t, &custom)
	if custom.Image != "podway/hello" || custom.Networking["default"].Port != 8080 {
		t.Errorf("got %+v", custom)
	}
}
