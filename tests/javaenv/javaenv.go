// Package javaenv fetches Java programs from Maven Central, for tests that need
// a real server which exists nowhere else.
//
//	classpath := javaenv.Make(t, "pom.xml")
//	cmd := exec.CommandContext(t.Context(), javaenv.Java(t), "-cp", classpath, "org.example.Server")
//
// What a pom.xml lists is fetched once, into .cache/java of the checkout, and
// again when it changes.
package javaenv

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/toolcache"
)

// Java returns the program that runs Java.
func Java(t testing.TB) string {
	t.Helper()
	return parts.Require(t, "java")
}

// Make returns the class path of all that a pom.xml depends on. It may be called
// from several test processes at once.
func Make(t testing.TB, pom string) string {
	t.Helper()
	maven := parts.Require(t, "mvn")
	list, err := os.ReadFile(pom)
	if err != nil {
		t.Fatal(err)
	}
	dir := toolcache.Make(t, "java", list, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), list, 0o600); err != nil {
			t.Fatal(err)
		}
		// A repository of its own, so that the user's is left as it is.
		toolcache.Run(t, dir, maven, "--quiet", "--batch-mode", "-Dmaven.repo.local="+filepath.Join(toolcache.Dir("java"), "repository"),
			"dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib"))
	})
	return filepath.Join(dir, "lib", "*")
}
