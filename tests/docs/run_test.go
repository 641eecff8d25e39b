package docs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/pythonenv"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) {
	system.Main(m, filepath.Join(parts.Repo(), "docs"), filepath.Join(parts.Repo(), "mkdocs.yml"))
}

// pageWithin bounds the blocks of a page, on a machine that has much to do.
const pageWithin = 4 * time.Minute

// tutorial starts the system by itself.
const tutorial = "docs/tutorial.md"

// place is where the blocks of a page are run.
type place struct {
	apiPort, edgePort int
	state             string // folder
	bin               string // folder with the programs
	dir               string // where files land that blocks write
	env               []string
}

// replacement is a text of the documents that differs when a test runs them.
type replacement struct{ printed, run, why string }

// replacements is all that differs from what is printed.
func (p place) replacements() []replacement {
	return []replacement{
		{"make run", "make -C '" + parts.Repo() + "' -o build run BIN='" + p.bin + "'", "the programs are built already, and the test is in another folder"},
		{"$PWD/bin", p.bin, "so are they"},
		{"bin/podctl", p.bin + "/podctl", "so is it"},
		{"8000", strconv.Itoa(p.apiPort), "somebody may use the port"},
		{"8443", strconv.Itoa(p.edgePort), "so may they this one"},
		{".run/", p.state + "/", "the checkout may have a state"},
		{"podway-edge.sock", p.state + "/edge/admin.sock", "the edge of `make run` has its admin API elsewhere"},
	}
}

func (p place) replacer() *strings.Replacer {
	var pairs []string
	for _, r := range p.replacements() {
		pairs = append(pairs, r.printed, r.run)
	}
	return strings.NewReplacer(pairs...)
}

// TestPages runs the blocks of every page that has some, each page beside a system of
// its own.
func TestPages(t *testing.T) {
	for _, p := range pages(t) {
		if p.path == tutorial || !slices.ContainsFunc(blocks(p), func(b block) bool { return b.mark.kind == "run" }) {
			continue
		}
		t.Run(p.path, func(t *testing.T) {
			t.Parallel()
			s := system.Start(t)
			s.StartEdge()
			here := prepare(t)
			here.apiPort, here.edgePort, here.state = s.APIPort, s.EdgePort, s.Dir
			here.login(t, s)
			here.run(t, p)
		})
	}
}

// TestTutorial runs the tutorial in an empty place, from `make run` to its end.
func TestTutorial(t *testing.T) {
	here := prepare(t)
	here.apiPort, here.edgePort = parts.FreePort(t), parts.FreePort(t)
	state, err := os.MkdirTemp(filepath.Dir(system.Program(t, "controlplane")), "tutorial-") //nolint:usetesting // PostgreSQL's user can't pass through t.TempDir
	if err == nil {
		err = os.Chmod(state, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	here.state = state
	here.env = append(here.env,
		"PODWAY_STATE_DIR="+state,
		"PODWAY_API_PORT="+strconv.Itoa(here.apiPort),
		"PODWAY_EDGE_PORT="+strconv.Itoa(here.edgePort),
		"PODWAY_REDIS_PORT="+strconv.Itoa(parts.FreePort(t)),
	)
	t.Cleanup(func() {
		cmd := exec.Command(system.Program(t, "controlplane"), "dev", "--clean")
		cmd.Env = append(os.Environ(), here.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("cleaning up: %v\n%s", err, out)
		}
	})
	here.run(t, read(t, tutorial))
}

// prepare makes a folder with the programs, and one for what blocks write.
func prepare(t *testing.T) place {
	t.Helper()
	for _, program := range []string{"bash", "make", "curl", "psql"} {
		parts.Require(t, program)
	}
	parts.Require(t, "/usr/lib/postgresql/*/bin/initdb")
	p := place{bin: t.TempDir(), dir: t.TempDir()}
	for name, folder := range map[string]string{"podway": "controlplane", "podway-edge": "edge", "podctl": "podctl"} {
		if err := os.Symlink(system.Program(t, folder), filepath.Join(p.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	p.env = []string{"PATH=" + p.bin + ":" + os.Getenv("PATH"), "PODCTL_CONFIG=" + filepath.Join(t.TempDir(), "login.json")}
	return p
}

// login makes the blocks those of somebody who has used the system before.
func (p *place) login(t *testing.T, s *system.System) {
	t.Helper()
	for name, value := range s.EdgeEnv() {
		p.env = append(p.env, name+"="+value)
	}
	cmd := exec.CommandContext(t.Context(), system.Program(t, "podctl"), "login", "--url", s.BaseURL(), "--user", "testuser", "--password-stdin",
		"--edge-port", strconv.Itoa(s.EdgePort), "--edge-ca", s.CAFile())
	cmd.Env, cmd.Stdin = append(os.Environ(), p.env...), strings.NewReader("testuser")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("logging in: %v\n%s", err, out)
	}
	p.env = append(p.env, "API="+s.URL("/v3"), "TOKEN="+s.Login("testuser").Token)
}

// run runs the blocks of a page one after the other, in one shell, and checks what
// they print.
func (p place) run(t *testing.T, page page) {
	t.Helper()
	list := blocks(page)
	script := filepath.Join(p.dir, "page.sh")
	if err := os.WriteFile(script, []byte(p.script(t, list)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), pageWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", script)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()

	last := -1 // the block that was run last
	outputs := map[int]string{}
	for i := range list {
		if _, rest, ok := strings.Cut(out.String(), heading(i)); ok {
			outputs[i], _, _ = strings.Cut(rest, "\n== block ")
			last = i
		}
	}
	if err != nil {
		line := 0
		if last >= 0 {
			line = list[last].line
		}
		t.Fatalf("%s:%d: %v\n%s", page.path, line, err, outputs[last])
	}
	p.check(t, page, list, outputs)
}

// check compares what blocks printed with what the page says.
func (p place) check(t *testing.T, page page, list []block, outputs map[int]string) {
	t.Helper()
	replace, ran := p.replacer(), -1
	for i, b := range list {
		switch b.mark.kind {
		case "run":
			ran = i
			promised := ""
			if i+1 < len(list) && list[i+1].mark.kind == "prints" {
				promised = list[i+1].text
			}
			if failed := `"status":"error"`; strings.Contains(outputs[i], failed) && !strings.Contains(promised, failed) {
				t.Errorf("%s:%d: the API refuses it:\n%s", page.path, b.line, outputs[i])
			}
		case "prints":
			if missing, ok := prints(outputs[ran], replace.Replace(b.text)); !ok {
				t.Errorf("%s:%d: got\n%s\nwant a line %q", page.path, b.line, outputs[ran], missing)
			}
		}
	}
}

// heading parts the output of blocks.
func heading(i int) string { return fmt.Sprintf("\n== block %d ==\n", i) }

// script is the blocks that are run, as one script.
func (p place) script(t *testing.T, list []block) string {
	t.Helper()
	replace := p.replacer()
	var b strings.Builder
	b.WriteString(`set -eo pipefail
shopt -s expand_aliases
background=()
end() {
	for pid in "${background[@]}"; do
		kill -TERM -- "-$pid"
		while kill -0 -- "-$pid"; do sleep 0.1; done 2>/dev/null
	done
}
trap end EXIT
trap 'exit 1' TERM
`)
	for i, block := range list {
		if block.mark.kind != "run" {
			continue
		}
		fmt.Fprintf(&b, "printf '%s'\n", strings.ReplaceAll(heading(i), "\n", `\n`))
		b.WriteString(replace.Replace(block.given))
		code := replace.Replace(block.text)
		switch {
		case block.language == "python":
			fmt.Fprintf(&b, "%s - <<'END OF BLOCK'\n%sEND OF BLOCK\n", pythonenv.Make(t, "../sdk/requirements.txt"), code)
		case block.mark.text != "":
			b.WriteString(untilPrinted(i, code, block.mark.text))
		default:
			b.WriteString(code)
		}
	}
	return b.String()
}

// untilPrinted runs code in the background, in a process group of its own, and goes on
// when it has printed some words.
func untilPrinted(i int, code, words string) string {
	return fmt.Sprintf(`cat >block%[1]d.sh <<'END OF BLOCK'
%[2]sEND OF BLOCK
setsid bash block%[1]d.sh >block%[1]d.out 2>&1 &
background+=($!)
until grep -qF '%[3]s' block%[1]d.out; do
	kill -0 ${background[-1]} || { cat block%[1]d.out; exit 1; }
	sleep 0.1
done
cat block%[1]d.out
`, i, code, words)
}
