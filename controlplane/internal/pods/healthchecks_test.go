package pods

import (
	"reflect"
	"strings"
	"testing"
)

func TestHealthchecksAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, checks string
		want         []string
	}{
		{"another type", `1`, []string{"body, healthchecks: value is not a valid dict"}},
		{"unknown keys", `{"live":{},"readiness":{"tcp_socket_port":80,"http_path":"/"}}`, []string{
			"body, healthchecks, live: extra fields not permitted",
			"body, healthchecks, readiness, http_path: extra fields not permitted",
		}},
		{"no way to ask", `{"liveness":{}}`, []string{
			"body, healthchecks, liveness: healthchecks.liveness must have exactly one of http_get_path, exec_command and tcp_socket_port. Got 0 of them.",
		}},
		{"two ways to ask", `{"startup":{"http_get_path":"/","tcp_socket_port":80}}`, []string{
			"body, healthchecks, startup: healthchecks.startup must have exactly one of http_get_path, exec_command and tcp_socket_port. Got 2 of them.",
		}},
		{"values that are out of bounds", `{"liveness":{"http_get_path":"x","http_get_port":99999,"http_get_scheme":"ftp",` +
			`"period_seconds":0,"timeout_seconds":0,"failure_threshold":0,"success_threshold":2,"initial_delay_seconds":-1}}`, []string{
			"body, healthchecks, liveness, failure_threshold: healthchecks.liveness.failure_threshold must be between 1 and 1000. Got 0",
			"body, healthchecks, liveness, http_get_path: healthchecks.liveness.http_get_path must start with / and have at most 1024 characters",
			"body, healthchecks, liveness, http_get_port: healthchecks.liveness.http_get_port must be between 1 and 65535. Got 99999",
			"body, healthchecks, liveness, http_get_scheme: healthchecks.liveness.http_get_scheme must be HTTP or HTTPS. Got FTP",
			"body, healthchecks, liveness, initial_delay_seconds: healthchecks.liveness.initial_delay_seconds must be between 0 and 3600. Got -1",
			"body, healthchecks, liveness, period_seconds: healthchecks.liveness.period_seconds must be between 1 and 3600. Got 0",
			"body, healthchecks, liveness, success_threshold: healthchecks.liveness.success_threshold must be 1, except for readiness. Got 2",
			"body, healthchecks, liveness, timeout_seconds: healthchecks.liveness.timeout_seconds must be between 1 and 3600. Got 0",
		}},
		{"a command without a program", `{"readiness":{"exec_command":[""]}}`, []string{
			"body, healthchecks, readiness, exec_command: healthchecks.readiness.exec_command must be a list of 1 to 100 words that starts with a program",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeNewPod([]byte(with(`"healthchecks":`+c.checks)), DefaultSettings())
			wantProblems(t, err, c.want...)
		})
	}
}

// resolveChecks returns the effective healthchecks of a pod over templates.
func resolveChecks(t *testing.T, own string, chain ...string) *Healthchecks {
	t.Helper()
	var below []Definition
	for _, body := range chain {
		below = append(below, decodeDefinition(t, body))
	}
	e, err := Resolve("mypod", "dev.localhost", DefaultSettings(), decodeDefinition(t, own), below...)
	if err != nil {
		t.Fatal(err)
	}
	return e.Healthchecks
}

func decodeDefinition(t *testing.T, fields string) Definition {
	t.Helper()
	patch, err := DecodePodPatch([]byte("{"+fields+"}"), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	return patch.Definition
}

func TestHealthchecksMerge(t *testing.T) {
	tcp := func(port int) *Probe {
		return &Probe{TCPSocketPort: port, InitialDelaySeconds: 10, PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 3, SuccessThreshold: 1}
	}
	http := func(port int) *Probe {
		p := tcp(0)
		p.HTTPGetPath, p.HTTPGetPort, p.HTTPGetScheme = "/ready", port, "HTTP"
		return p
	}
	const template = `"image":"nginx","healthchecks":{"liveness":{"tcp_socket_port":80},"readiness":{"tcp_socket_port":81}}`
	for _, c := range []struct {
		name, own string
		chain     []string
		want      *Healthchecks
	}{
		{"none are none", `"image":"nginx"`, nil, nil},
		{"those of a template are inherited", ``, []string{template}, &Healthchecks{Liveness: tcp(80), Readiness: tcp(81), NetworkingRequiresReady: true}},
		{
			"a probe of the pod replaces the template's", `"healthchecks":{"readiness":{"tcp_socket_port":82}}`,
			[]string{template},
			&Healthchecks{Liveness: tcp(80), Readiness: tcp(82), NetworkingRequiresReady: true},
		},
		{
			"a null probe clears the template's", `"healthchecks":{"readiness":null,"networking_requires_ready":false}`,
			[]string{template},
			&Healthchecks{Liveness: tcp(80)},
		},
		{"null clears all", `"healthchecks":null`, []string{template}, nil},
		{
			"http asks the first port", `"image":"nginx","networking":{"default":{"port":8080}},"healthchecks":{"readiness":{"http_get_path":"/ready"}}`,
			nil,
			&Healthchecks{Readiness: http(8080), NetworkingRequiresReady: true},
		},
		{
			"http asks port 5000 of a pod without a first port", `"image":"nginx","networking":{"web":{"port":8080}},"healthchecks":{"readiness":{"http_get_path":"/ready"}}`,
			nil,
			&Healthchecks{Readiness: http(5000), NetworkingRequiresReady: true},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := resolveChecks(t, c.own, c.chain...); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestHealthchecksReachTheWorkload(t *testing.T) {
	e := Effective{Healthchecks: resolveChecks(t, `"image":"nginx","healthchecks":{"startup":{"exec_command":["true"]}}`)}
	w := BuildWorkload(Pod{}, e, Credentials{})
	if !reflect.DeepEqual(w.Healthchecks, e.Healthchecks) {
		t.Errorf("got %+v, want %+v", w.Healthchecks, e.Healthchecks)
	}
	w.Healthchecks.Startup.ExecCommand[0] = "false"
	if got := e.Healthchecks.Startup.ExecCommand[0]; got != "true" {
		t.Errorf("got %q, want a workload that shares nothing", got)
	}
}

func TestDiffHidesTheCommandsOfProbes(t *testing.T) {
	before := Effective{Healthchecks: resolveChecks(t, `"image":"nginx","healthchecks":{"startup":{"exec_command":["login","secret-1"]}}`)}
	after := Effective{Healthchecks: resolveChecks(t, `"image":"nginx","healthchecks":{"startup":{"exec_command":["login","secret-2"],"period_seconds":5},"liveness":{"tcp_socket_port":80}}`)}
	text := UpdateText("u", Diff(before, after, On, On))
	const want = "'u' updated pod: healthchecks.liveness: added, healthchecks.startup.exec_command: changed (hidden), healthchecks.startup.period_seconds: 10→5"
	if text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if gone := UpdateText("u", Diff(after, Effective{}, On, On)); strings.Contains(gone, "secret") {
		t.Errorf("got %s, want no part of a command in it", gone)
	}
}
