package config

import (
	"log/slog"
	"strings"
	"testing"
)

func env(kv map[string]string) func(string) string {
	return func(k string) string { return kv[k] }
}

func TestFromEnvGivesDefaults(t *testing.T) {
	c, err := FromEnv(env(nil))
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8000" || c.Store != "sqlite:podway.db" || c.MutationsPerMinute != 60 || c.LogLevel != slog.LevelInfo {
		t.Errorf("got %+v", c)
	}
}

func TestFromEnvReadsLists(t *testing.T) {
	c, err := FromEnv(env(map[string]string{"PODWAY_IMAGES": " a/b , ,c", "PODWAY_TAPIS_URL": "https://tacc.tapis.io/"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(c.Images, "|"), "a/b|c"; got != want {
		t.Errorf("images: got %q, want %q", got, want)
	}
	if got, want := c.TapisURL, "https://tacc.tapis.io"; got != want {
		t.Errorf("tapis URL: got %q, want %q", got, want)
	}
}

func TestFromEnvReportsEveryProblemByName(t *testing.T) {
	bad := map[string]string{
		"PODWAY_LISTEN":               "8000",
		"PODWAY_CLUSTER":              "mainframe",
		"PODWAY_TAPIS_URL":            "tacc.tapis.io",
		"PODWAY_MUTATIONS_PER_MINUTE": "many",
		"PODWAY_LOG_LEVEL":            "loud",
	}
	_, err := FromEnv(env(bad))
	if err == nil {
		t.Fatal("got no error")
	}
	for name := range bad {
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s is not named in:\n%v", name, err)
		}
	}
}

func TestPort(t *testing.T) {
	for _, v := range []string{"0", "65536", "x", "-1"} {
		if _, err := Port(env(map[string]string{"P": v}), "P", 80); err == nil {
			t.Errorf("%q: got no error", v)
		}
	}
	if p, err := Port(env(nil), "P", 80); err != nil || p != 80 {
		t.Errorf("got %d, %v", p, err)
	}
}
