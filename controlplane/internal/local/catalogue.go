package local

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// catalogue holds the images this cluster can run. To add one, write an entry
// here and a function that says what to run.
var catalogue = []image{
	{
		name:  "podway/hello",
		check: oneProtocolPerPort,
		plan:  planHello,
	},
	{
		name:     "postgres",
		port:     5432,
		accounts: []string{"postgres", "nobody"},
		check:    onePort,
		plan:     planPostgres,
		ready:    postgresReady,
	},
	{
		name:     "redis",
		port:     6379,
		accounts: []string{"redis", "nobody"},
		check:    onePort,
		plan:     planRedis,
	},
	// No usual machine has the programs of these. podway/hello answers in their
	// place, so that pods of the templates fastapi, jupyterlab and neo4j, which
	// documents use as examples, can be tried.
	{
		name:  "neo4j",
		check: oneProtocolPerPort,
		plan:  planStandIn,
	},
	{
		name:  "tiangolo/uvicorn-gunicorn-fastapi",
		check: oneProtocolPerPort,
		plan:  planStandIn,
	},
	{
		name:  "quay.io/jupyter/minimal-notebook",
		check: oneProtocolPerPort,
		plan:  planStandIn,
	},
}

// image is how one image is run with the programs of this machine.
type image struct {
	name string // as people write it, without tag

	// port is the usual port of a program that listens on one. 0: the program
	// listens on every port of the pod's networking.
	port int

	// accounts are the users to run as if we are root, the first that exists
	// being taken. nil: as ourselves.
	accounts []string

	// check checks the pod's networking. The error is Invalid.
	check func(i image, ports map[string]pods.Port) error

	// plan says what to run. The error is Invalid if the machine lacks the
	// program or the workload asks for what can't be.
	plan func(i image, w pods.Workload, p place) (plan, error)

	// ready asks the program in this storage whether it serves, once its ports
	// accept connections. nil: accepting is enough.
	ready func(storage string) bool
}

// place is where a pod runs.
type place struct {
	self    string // path of the podway program
	ip      netip.Addr
	ports   map[string]int // to listen on, by networking key
	storage string
	mounts  map[string]string // folders of volumes and snapshots, by their ids
}

// addr returns the address to listen on for a networking key.
func (p place) addr(key string) string {
	return netip.AddrPortFrom(p.ip, uint16(p.ports[key])).String()
}

// plan is what to run.
type plan struct {
	setup *setup
	main  command
	stop  syscall.Signal
}

// Images returns the images of the catalogue as [pods.CanonicalImage] writes
// them, for the operator's allow list.
func Images() []string {
	var names []string
	for _, i := range catalogue {
		names = append(names, i.canonical())
	}
	return names
}

func (i image) canonical() string {
	name, err := pods.CanonicalImage(i.name)
	if err != nil {
		return i.name
	}
	return name
}

// findImage returns the catalogue's entry for an image reference. Invalid if
// there is none.
func findImage(ref string) (image, error) {
	r, err := pods.ParseImage(ref)
	if err != nil {
		return image{}, pods.Errorf(pods.Invalid, "image: %v", err)
	}
	at := slices.IndexFunc(catalogue, func(i image) bool { return i.canonical() == r.Name() })
	switch {
	case at < 0:
		return image{}, pods.Errorf(pods.Invalid,
			"image: '%s' is not in the catalogue of the local cluster. Use one of: %s", ref, strings.Join(imageNames(), ", "))
	case r.Digest != "":
		return image{}, pods.Errorf(pods.Invalid,
			"image: the local cluster runs the version on this machine, so it can't run a digest. Use '%s'", catalogue[at].name)
	}
	return catalogue[at], nil
}

func imageNames() []string {
	var names []string
	for _, i := range catalogue {
		names = append(names, i.name)
	}
	return names
}

// servedKey returns the networking key that a program with one port serves: the
// one with its usual port, else the one that most likely means it. "" without
// networking.
func (i image) servedKey(ports map[string]pods.Port) string {
	keys := slices.Sorted(maps.Keys(ports))
	if len(keys) == 0 {
		return ""
	}
	order := []pods.NetProtocol{pods.NetPostgres, pods.NetTCP, pods.NetHTTP, pods.NetLocalOnly}
	rank := func(k string) int {
		if ports[k].Number == i.port {
			return -1
		}
		return slices.Index(order, ports[k].Protocol)
	}
	return slices.MinFunc(keys, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
}

// onePort refuses networking entries that would wait in vain for a program with
// one port.
func onePort(i image, ports map[string]pods.Port) error {
	served := i.servedKey(ports)
	for _, key := range slices.Sorted(maps.Keys(ports)) {
		if ports[key].Protocol != pods.NetLocalOnly && ports[key].Number != ports[served].Number {
			return pods.Errorf(pods.Invalid,
				"networking.%s: image %s listens on one port, which is taken to be %d, of networking.%s. Remove one of the two entries",
				key, i.name, ports[served].Number, served)
		}
	}
	return nil
}

// oneProtocolPerPort refuses networking entries that share a port and want
// different things of it.
func oneProtocolPerPort(_ image, ports map[string]pods.Port) error {
	protos := map[int]string{}
	for _, key := range slices.Sorted(maps.Keys(ports)) {
		proto, number := helloProtocol(ports[key].Protocol), ports[key].Number
		if other, ok := protos[number]; ok && other != proto {
			return pods.Errorf(pods.Invalid,
				"networking.%s: another entry uses port %d with another protocol. Use another port", key, number)
		}
		protos[number] = proto
	}
	return nil
}

// listenOn returns the address a program with one port shall listen on: that of
// the served networking key, or its usual port.
func (i image) listenOn(w pods.Workload, p place) netip.AddrPort {
	return netip.AddrPortFrom(p.ip, uint16(cmp.Or(p.ports[i.servedKey(w.Ports)], i.port)))
}

// planHello runs the program in package hello, which is part of podway.
func planHello(_ image, w pods.Workload, p place) (plan, error) {
	argv := []string{p.self, HelloCommand}
	served := map[int]bool{}
	for _, key := range slices.Sorted(maps.Keys(w.Ports)) {
		if served[p.ports[key]] {
			continue
		}
		served[p.ports[key]] = true
		argv = append(argv, "-listen", key+"="+helloProtocol(w.Ports[key].Protocol)+"://"+p.addr(key))
	}
	return plan{main: command{Argv: append(argv, w.Arguments...)}, stop: syscall.SIGTERM}, nil
}

// planStandIn runs hello in the place of another program, whose arguments it does
// not know.
func planStandIn(i image, w pods.Workload, p place) (plan, error) {
	w.Arguments = nil
	return planHello(i, w, p)
}

// helloProtocol returns what hello serves on a networking entry.
func helloProtocol(p pods.NetProtocol) string {
	if p == pods.NetTCP || p == pods.NetPostgres {
		return "tcp"
	}
	return "http"
}

// planPostgres runs Debian's PostgreSQL, in the newest version there is or, for
// storage that exists, in the version that made it. As with the container image,
// user, password and database are made once, with the storage:
//
//	POSTGRES_USER      superuser; default: the user of the pod's credentials
//	POSTGRES_PASSWORD  default: the password of the pod's credentials
//	POSTGRES_DB        database; default: the name of the user
func planPostgres(i image, w pods.Workload, p place) (plan, error) {
	data := filepath.Join(p.storage, "postgres")
	bin, err := postgresPrograms(data)
	if err != nil {
		return plan{}, err
	}
	listen := i.listenOn(w, p)
	set, err := postgresSetup(w, bin, data)
	if err != nil {
		return plan{}, err
	}
	argv := []string{
		filepath.Join(bin, "postgres"), "-D", data,
		"-p", strconv.Itoa(int(listen.Port())),
		"-c", "listen_addresses=" + listen.Addr().String(),
		"-c", "unix_socket_directories=",
		"-c", "dynamic_shared_memory_type=mmap", // inside the storage: nothing is left in /dev/shm by a kill
		"-c", "fsync=off", // a lost machine loses development data only
	}
	return plan{
		setup: set,
		main:  command{Argv: append(argv, ownArguments(w, "postgres")...)},
		stop:  syscall.SIGINT, // SIGTERM would wait for the clients to leave
	}, nil
}

// postgresPrograms returns the folder of PostgreSQL's programs.
func postgresPrograms(data string) (string, error) {
	if version, err := os.ReadFile(filepath.Join(data, "PG_VERSION")); err == nil {
		bin := filepath.Join("/usr/lib/postgresql", strings.TrimSpace(string(version)), "bin")
		if exists(filepath.Join(bin, "postgres")) {
			return bin, nil
		}
	}
	path, err := findProgram("postgres", "postgresql", "/usr/lib/postgresql/*/bin/postgres")
	return filepath.Dir(path), err
}

func postgresSetup(w pods.Workload, bin, data string) (*setup, error) {
	user := cmp.Or(w.Env["POSTGRES_USER"], w.Credentials.UserUsername, string(w.ID))
	password := cmp.Or(w.Env["POSTGRES_PASSWORD"], w.Credentials.UserPassword)
	database := cmp.Or(w.Env["POSTGRES_DB"], user)
	for name, value := range map[string]string{
		"POSTGRES_USER": user, "POSTGRES_PASSWORD": password, "POSTGRES_DB": database,
	} {
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
			return nil, pods.Errorf(pods.Invalid, "environment_variables.%s: must not be empty or hold control characters", name)
		}
	}
	// Passed as input, so that no command line and no log shows the password.
	sql := fmt.Sprintf("ALTER ROLE %s PASSWORD %s;\n", quoteSQL(user, `"`), quoteSQL(password, `'`))
	if database != "postgres" {
		sql += fmt.Sprintf("CREATE DATABASE %s OWNER %s;\n", quoteSQL(database, `"`), quoteSQL(user, `"`))
	}
	making := data + ".new"
	return &setup{
		Creates: data, Making: making,
		Commands: []command{
			{
				Argv: []string{
					filepath.Join(bin, "initdb"), "-D", making, "-U", user, "--encoding=UTF8", "--locale=C",
					"--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync", "--no-instructions",
				},
				Quiet: true,
			},
			{
				// log_min_error_statement: a statement that fails is not logged.
				Argv: []string{
					filepath.Join(bin, "postgres"), "--single", "-D", making, "-c", "fsync=off",
					"-c", "log_min_error_statement=panic", "postgres",
				},
				Stdin: sql, Quiet: true,
			},
		},
	}, nil
}

// quoteSQL quotes an identifier or a string.
func quoteSQL(s, quote string) string {
	return quote + strings.ReplaceAll(s, quote, quote+quote) + quote
}

// postgresReady reports whether recovery is over: the port accepts connections
// before that, and the server then turns clients away. The eighth line of its
// lock file is made for this (pg_ctl waits for it too).
func postgresReady(storage string) bool {
	b, err := os.ReadFile(filepath.Join(storage, "postgres", "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(b), "\n")
	return len(lines) >= 8 && strings.TrimSpace(lines[7]) == "ready"
}

// planRedis runs Debian's Redis, which keeps its data in the storage. Clients
// need a password if REDIS_PASSWORD is set.
func planRedis(i image, w pods.Workload, p place) (plan, error) {
	server, err := findProgram("redis-server", "redis-server")
	if err != nil {
		return plan{}, err
	}
	listen := i.listenOn(w, p)
	config := fmt.Sprintf("bind %s\nport %d\ndir %s\n", listen.Addr(), listen.Port(), quoteRedis(p.storage))
	if password := w.Env["REDIS_PASSWORD"]; password != "" {
		config += "requirepass " + quoteRedis(password) + "\n"
	}
	return plan{
		main: command{Argv: append([]string{server, "-"}, ownArguments(w, "redis-server")...), Stdin: config},
		stop: syscall.SIGTERM,
	}, nil
}

// quoteRedis quotes a value of redis.conf.
func quoteRedis(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ownArguments returns the arguments a user gave. Container images accept their
// program's name in front of them.
func ownArguments(w pods.Workload, program string) []string {
	if len(w.Arguments) > 0 && w.Arguments[0] == program {
		return w.Arguments[1:]
	}
	return w.Arguments
}

// findProgram returns the path of a program: in PATH, or the newest version that
// the patterns match. Invalid, with what to install, if there is none.
func findProgram(name, debianPackage string, patterns ...string) (string, error) {
	var found []string
	for _, p := range patterns {
		m, _ := filepath.Glob(p) // the only error is a bad pattern, and none is
		found = append(found, m...)
	}
	if len(found) > 0 {
		return slices.MaxFunc(found, compareVersions), nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil // as it is: some programs are links that look at their name
	}
	return "", pods.Errorf(pods.Invalid,
		"image: the program %s is not on this machine. Install it with: apt-get install %s", name, debianPackage)
}

// compareVersions orders paths by the numbers of their folders: 9.6 before 15.
func compareVersions(a, b string) int {
	return slices.Compare(versionsIn(a), versionsIn(b))
}

func versionsIn(path string) []float64 {
	var vs []float64
	for part := range strings.SplitSeq(path, "/") {
		if v, err := strconv.ParseFloat(part, 64); err == nil {
			vs = append(vs, v)
		}
	}
	return vs
}
