package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// banner prints what a person needs once everything is ready. The indented
// lines work as printed, one after the other, in a shell of the folder where
// the launcher runs.
func (d devConfig) banner(out io.Writer) {
	api, ca := d.apiURL(), d.caFile()
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, ca); err == nil && !strings.HasPrefix(rel, "..") {
			ca = rel
		}
	}
	domain := "pods." + d.tenantDomain()
	fmt.Fprintf(out, `
Podway is ready.

  API    %[1]s/v3/pods
  edge   every protocol at port %[2]d, hosts <pod>.%[3]s
  root   %[4]s
  users  testuser, otheruser, testadmin (role pods_admin); the password is the name

Try, in a second terminal:

  Log in:

    export JWT=$(curl -s %[1]s/v3/oauth2/tokens -H 'Content-Type: application/json' -d '{"username":"testuser","password":"testuser","grant_type":"password"}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

  Ask for a web pod, and reach it:

    curl -s %[1]s/v3/pods -H "X-Tapis-Token: $JWT" -H 'Content-Type: application/json' -d '{"pod_id":"web","image":"podway/hello"}'; echo
    curl -s --retry 20 --retry-delay 1 --fail --cacert %[4]s --resolve web.%[3]s:%[2]d:127.0.0.1 https://web.%[3]s:%[2]d/headers

  Ask for a Postgres, and connect with psql (needs Debian's postgresql package):

    curl -s %[1]s/v3/pods -H "X-Tapis-Token: $JWT" -H 'Content-Type: application/json' -d '{"pod_id":"db","image":"postgres","networking":{"default":{"protocol":"postgres","port":5432}}}'; echo
    until curl -s %[1]s/v3/pods/db -H "X-Tapis-Token: $JWT" | grep -q '"status":"AVAILABLE"'; do sleep 1; done
    export PGPASSWORD=$(curl -s %[1]s/v3/pods/db/credentials -H "X-Tapis-Token: $JWT" | sed 's/.*"user_password":"\([^"]*\)".*/\1/')
    psql "host=db.%[3]s hostaddr=127.0.0.1 port=%[2]d sslmode=verify-full sslrootcert=%[4]s user=db dbname=postgres" -c 'select 1'

Logs are in %[5]s. Ctrl-C stops everything; the state stays. `+"`make run-clean`"+` deletes it.
`, api, d.edgePort, domain, ca, filepath.Join(d.dir, "logs"))
}

// cutEnv splits NAME=value.
func cutEnv(kv string) (name, value string) {
	name, value, _ = strings.Cut(kv, "=")
	return name, value
}
