package kube

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Variables that stand for a pod's generated passwords where its definition puts
// one into a command line.
const (
	userPasswordVariable  = "PODWAY_USER_PASSWORD"  //nolint:gosec // the name of a variable
	adminPasswordVariable = "PODWAY_ADMIN_PASSWORD" //nolint:gosec // the name of a variable
)

// hidden are the variables by which the kubelet tells every container about the
// API server. Pods have no business there, so they find them empty.
var hidden = []string{
	"KUBERNETES_PORT", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS",
	"KUBERNETES_PORT_443_TCP", "KUBERNETES_PORT_443_TCP_ADDR", "KUBERNETES_PORT_443_TCP_PORT", "KUBERNETES_PORT_443_TCP_PROTO",
}

// environment is what a container gets to know. Whatever a user wrote may be
// secret, so it goes into a Secret, whole; the pod only names it. That also keeps
// Kubernetes from reading "$(...)" in a value as a reference.
type environment struct {
	secret map[string][]byte
	plain  map[string]string
	args   *strings.Replacer // takes passwords out of a command line
}

func newEnvironment(w pods.Workload) environment {
	e := environment{
		secret: make(map[string][]byte, len(w.Env)),
		plain:  map[string]string{"image": w.Image, "revision": "1"},
		args:   strings.NewReplacer(),
	}
	for _, name := range hidden {
		e.plain[name] = ""
	}
	for name, value := range w.Env {
		e.secret[name] = []byte(value)
		delete(e.plain, name) // what a user sets counts
	}
	for key, m := range w.VolumeMounts {
		if m.IsConfig() {
			e.secret[configKey(key)] = []byte(m.ConfigContent)
		}
	}
	e.hidePasswords(w)
	return e
}

// hidePasswords replaces the pod's passwords in its command line, which everyone
// who may look at pods can read, by references to variables.
func (e *environment) hidePasswords(w pods.Workload) {
	words := strings.Join(append(slices.Clone(w.Command), w.Arguments...), "\x00")
	var pairs []string
	for variable, password := range map[string]string{
		userPasswordVariable: w.Credentials.UserPassword, adminPasswordVariable: w.Credentials.AdminPassword,
	} {
		if password == "" || !strings.Contains(words, password) {
			continue
		}
		e.secret[variable] = []byte(password)
		delete(e.plain, variable)
		// A dollar before a reference would quote it, so it is quoted itself.
		pairs = append(pairs, "$"+password, "$$$("+variable+")", password, "$("+variable+")")
	}
	e.args = strings.NewReplacer(pairs...)
}

// line returns a command line without passwords; nil for nil.
func (e environment) line(words []string) []string {
	var out []string
	for _, w := range words {
		out = append(out, e.args.Replace(w))
	}
	return out
}

// variables returns the environment as a container lists it, in order.
func (e environment) variables(secretName string) []corev1.EnvVar {
	var list []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(e.plain)) {
		list = append(list, corev1.EnvVar{Name: name, Value: e.plain[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(e.secret)) {
		if isConfigKey(name) {
			continue
		}
		list = append(list, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secretName}, Key: name},
		}})
	}
	return list
}

// digestLength of the base32 digits that tell environments apart.
const digestLength = 10

// digest names this environment of this pod, so that a start that is tried again
// finds the Secret it made. It is keyed with the pod's passwords: a name must not
// help to guess a value.
func (e environment) digest(w pods.Workload) string {
	h := hmac.New(sha256.New, []byte(w.Credentials.AdminPassword+w.Credentials.UserPassword))
	write := func(b []byte) { h.Write(append(b, 0)) }
	write([]byte(w.UID))
	for _, name := range slices.Sorted(maps.Keys(e.secret)) {
		write([]byte(name))
		write(slices.Clone(e.secret[name])) // values hold no NUL
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)))[:digestLength]
}
