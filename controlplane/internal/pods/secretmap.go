package pods

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A secret_map gives names to values that a pod's environment uses:
//
//	"secret_map": {"DB_PASS": "${secret:dbpass}", "KEY": "${pods:random:32}", "BASE": "https://${pods:url}/app"}
//	"environment_variables": {"DATABASE_URL": "postgres://app:${pods:secrets:DB_PASS}@db/app"}
//
// A value is text in which these stand for something else:
//
//	${secret:name}                     a secret of the user who sets it
//	${secret:user:name}                the same with the user's name
//	${pods:random:32}                  32 random characters, made at the first start
//	${pods:url}                        the pod's host name
//	${pods:pod_id}                     the pod's id
//	${pods:tapis_url}                  the host name of the tenant
//	${pods:networking:default:port}    one of url, hostname, port, protocol, tapis_url
//	${:?description}                   in templates: the pod has to give a value
//	${pods:default:value:?description} in templates: the pod may give another
//
// A value that is one of these and nothing else is kept and shown as it is. Any
// other may hold a password: it is sealed before it is stored, and shown as
// [WriteOnly].

// WriteOnly is what is shown for a value that can't be read. Sent back, it keeps
// the value.
const WriteOnly = "<<write-only>>"

// sealedPrefix starts the sealed values of a stored secret_map.
const sealedPrefix = "sealed:"

// Limits of a secret_map.
const (
	maxSecretMap  = 100
	maxSecretName = 128
	minRandom     = 8
	maxRandom     = 128
)

// refKind is what a reference stands for.
type refKind int

const (
	refText     refKind = iota // nothing: text that looks like a reference
	refSecret                  // a secret
	refRandom                  // a generated value
	refPodID                   // the pod's id
	refNet                     // a field of a networking entry
	refRequired                // a value that the pod has to give
	refDefault                 // a value that the pod may replace
)

// secretRef is a reference in a value of a secret_map.
type secretRef struct {
	kind        refKind
	owner, name string // refSecret; owner may be ""
	length      int    // refRandom
	net, field  string // refNet
	value       string // refDefault
	description string // refRequired, refDefault
}

// refPattern matches what may be a reference.
var refPattern = regexp.MustCompile(`\$\{([^{}]*)\}`)

// netFields are the fields of a networking entry that can be referred to.
var netFields = []string{"url", "hostname", "port", "protocol", "tapis_url"}

// parseRef reads what stands between the braces. The problem says what is wrong
// with a reference of a known kind, "" if nothing is.
func parseRef(inner string) (r secretRef, problem string) {
	if description, ok := strings.CutPrefix(inner, ":?"); ok {
		return secretRef{kind: refRequired, description: description}, ""
	}
	scheme, rest, _ := strings.Cut(inner, ":")
	switch scheme {
	case "secret":
		return parseSecretRef(rest)
	case "pods":
		return parsePodsRef(rest)
	default:
		return secretRef{}, ""
	}
}

func parseSecretRef(rest string) (secretRef, string) {
	owner, name, ok := strings.Cut(rest, ":")
	if !ok {
		owner, name = "", rest
	}
	if !isSecretName(name) || (ok && !userPattern.MatchString(owner)) {
		return secretRef{}, "a reference to a secret is ${secret:name} or ${secret:user:name}"
	}
	return secretRef{kind: refSecret, owner: owner, name: name}, ""
}

func parsePodsRef(rest string) (secretRef, string) {
	word, arguments, _ := strings.Cut(rest, ":")
	switch word {
	case "pod_id":
		return secretRef{kind: refPodID}, ""
	case "url", "tapis_url":
		return secretRef{kind: refNet, net: "default", field: word}, ""
	case "random":
		n, err := strconv.Atoi(arguments)
		if err != nil || n < minRandom || n > maxRandom {
			return secretRef{}, fmt.Sprintf("${pods:random:N} needs a length from %d to %d", minRandom, maxRandom)
		}
		return secretRef{kind: refRandom, length: n}, ""
	case "networking":
		net, field, _ := strings.Cut(arguments, ":")
		if net == "" || !slices.Contains(netFields, field) {
			return secretRef{}, "${pods:networking:<key>:<field>} needs one of the fields " + strings.Join(netFields, ", ")
		}
		return secretRef{kind: refNet, net: net, field: field}, ""
	case "default":
		value, description, _ := strings.Cut(arguments, ":?")
		return secretRef{kind: refDefault, value: value, description: description}, ""
	default:
		return secretRef{}, "a reference that starts with ${pods: is not known; " +
			"known are random, url, pod_id, tapis_url and networking"
	}
}

// wholeRef returns the reference that a value is, refText if it is anything else.
func wholeRef(value string) secretRef {
	inner, ok := strings.CutPrefix(value, "${")
	inner, closed := strings.CutSuffix(inner, "}")
	if !ok || !closed || strings.ContainsAny(inner, "{}") {
		return secretRef{}
	}
	r, _ := parseRef(inner)
	return r
}

// expandRefs replaces the references of a value. replace returns false to leave
// one as it stands.
func expandRefs(value string, replace func(secretRef) (string, bool)) string {
	return refPattern.ReplaceAllStringFunc(value, func(match string) string {
		r, problem := parseRef(match[2 : len(match)-1])
		if r.kind == refText || problem != "" {
			return match
		}
		if text, ok := replace(r); ok {
			return text
		}
		return match
	})
}

// secretMapReader reads a secret_map, which messages call where. They never show
// a value.
func secretMapReader(where loc) reader[map[string]string] {
	return func(o *object, in loc, v any) (map[string]string, bool) {
		inner, ok := readObject(o, in, v)
		if !ok {
			return nil, false
		}
		if len(inner.fields) > maxSecretMap {
			o.problems.add(where, "secret_map may hold %d entries at most. Got %d", maxSecretMap, len(inner.fields))
			return nil, false
		}
		out := make(map[string]string, len(inner.fields))
		for _, name := range slices.Sorted(maps.Keys(inner.fields)) {
			value, isString := inner.fields[name].(string)
			if !isString {
				o.problems.add(where.in(name), "secret_map val must be str. Got %s.", typeName(inner.fields[name]))
				ok = false
			}
			checkSecretEntry(o.problems, where.in(name), name, value)
			out[name] = value
		}
		return out, ok
	}
}

func checkSecretEntry(p *problems, where loc, name, value string) {
	if !isSecretName(name) || len(name) > maxSecretName {
		p.add(where, "secret_map key must consist of at most %d letters, digits, '_' and '-'.", maxSecretName)
	}
	if len(value) > maxSecretValue {
		p.add(where, "secret_map val must have at most %d bytes. Inputted length: %d", maxSecretValue, len(value))
	}
	for _, match := range refPattern.FindAllStringSubmatch(value, -1) {
		if _, problem := parseRef(match[1]); problem != "" {
			p.add(where, "%s.", problem)
		}
	}
}

// checkPodSecrets refuses, in the secret values of a pod, what only templates
// hold.
func checkPodSecrets(p *problems, d Definition) {
	for _, m := range d.secretMaps() {
		for _, name := range slices.Sorted(maps.Keys(m.values)) {
			expandRefs(m.values[name], func(r secretRef) (string, bool) {
				if r.kind == refRequired || r.kind == refDefault {
					p.add(m.where.in(name), "${:?...} and ${pods:default:...} stand in templates only; give a value.")
				}
				return "", false
			})
		}
	}
}

// placedSecrets are the secret values of one part of a definition.
type placedSecrets struct {
	where  loc
	values map[string]string
}

// secretMaps returns the parts of a definition that may hold secret values.
func (d Definition) secretMaps() []placedSecrets {
	return []placedSecrets{
		{at("secret_map"), d.SecretMap.Or(nil)},
		{at("template_overrides", "secret_map"), d.TemplateOverrides.Or(TemplateOverrides{}).SecretMap},
	}
}

// mapSecrets returns d with the values of both its secret maps replaced. d is not
// changed.
func (d Definition) mapSecrets(f func(where loc, m map[string]string) (map[string]string, error)) (Definition, error) {
	if m, ok := d.SecretMap.Get(); ok {
		out, err := f(at("secret_map"), m)
		if err != nil {
			return d, err
		}
		d.SecretMap = Set(out)
	}
	if o, ok := d.TemplateOverrides.Get(); ok && o.SecretMap != nil {
		out, err := f(at("template_overrides", "secret_map"), o.SecretMap)
		if err != nil {
			return d, err
		}
		o.SecretMap = out
		d.TemplateOverrides = Set(o)
	}
	return d, nil
}

// checkTemplateSecrets refuses, in the secret_map of a template, what would bind
// a person.
func checkTemplateSecrets(p *problems, d Definition) {
	for _, name := range slices.Sorted(maps.Keys(d.SecretMap.Or(nil))) {
		value, where := d.SecretMap.Or(nil)[name], at("secret_map", name)
		if value == WriteOnly || strings.HasPrefix(value, sealedPrefix) {
			p.add(where, "'%s' is no value; use ${:?description} for one that the pod has to give.", clip(value))
		}
		expandRefs(value, func(r secretRef) (string, bool) {
			if r.kind == refSecret {
				p.add(where, "a template can't refer to a user's secret; use ${:?description} for a value that the pod has to give.")
			}
			return "", false
		})
	}
}

// ShownSecretMap returns a secret_map as the API shows it; nil if it is empty.
func ShownSecretMap(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	shown := make(map[string]string, len(m))
	for name, value := range m {
		if wholeRef(value).kind == refText {
			value = WriteOnly
		}
		shown[name] = value
	}
	return shown
}

// TemplateSecrets returns the definition of a pod as a template may hold it: what
// is secret, or a user's, becomes a value that the next pod has to give, and the
// pod's own answers to its template are left out. d is not changed.
func TemplateSecrets(d Definition) Definition {
	d.TemplateOverrides = Opt[TemplateOverrides]{}
	m, ok := d.SecretMap.Get()
	if !ok {
		return d
	}
	out := make(map[string]string, len(m))
	for name, value := range m {
		if k := wholeRef(value).kind; k == refText || k == refSecret {
			value = "${:?" + name + "}"
		}
		out[name] = value
	}
	d.SecretMap = Set(out)
	return d
}

// SealSecrets prepares the secret values of a definition that a user has just given
// for a pod, where before is the definition it comes over: short references get the
// user's name, what may be secret is sealed, and [WriteOnly] keeps what was
// there. d is not changed.
//
// The error has code Invalid and one message per problem: another user's secret
// can't be referred to, unless the entry is left as it was.
func SealSecrets(s Sealer, k Key, user string, before, d Definition) (Definition, error) {
	var p problems
	was := map[string]map[string]string{}
	for _, m := range before.secretMaps() {
		was[m.where.String()] = m.values
	}
	d, err := d.mapSecrets(func(where loc, given map[string]string) (map[string]string, error) {
		sealer := mapSealer{sealer: s, key: k, user: user, where: where, problems: &p}
		out := make(map[string]string, len(given))
		for _, name := range slices.Sorted(maps.Keys(given)) {
			old, had := was[where.String()][name]
			out[name] = sealer.entry(name, given[name], old, had)
		}
		return out, nil
	})
	if err != nil {
		return d, err
	}
	return d, p.err()
}

// mapSealer seals the entries of one secret_map.
type mapSealer struct {
	sealer   Sealer
	key      Key
	user     string
	where    loc
	problems *problems
}

func (s mapSealer) entry(name, value, old string, had bool) string {
	switch {
	case value == WriteOnly && had:
		return old
	case value == WriteOnly:
		s.problems.add(s.where.in(name), "'%s' stands for a value that is there already; give the value.", WriteOnly)
		return ""
	case had && value == old && wholeRef(value).kind != refText:
		return old
	}
	value = s.own(name, value)
	if wholeRef(value).kind != refText {
		return value
	}
	if plain, err := openEntry(s.sealer, s.key, name, old); err == nil && strings.HasPrefix(old, sealedPrefix) && plain == value {
		return old
	}
	return sealedPrefix + s.sealer.Seal([]byte(value), entryContext(s.key, name))
}

// own writes the user's name into references to secrets.
func (s mapSealer) own(name, value string) string {
	return expandRefs(value, func(r secretRef) (string, bool) {
		if r.kind != refSecret {
			return "", false
		}
		if r.owner != "" && r.owner != s.user {
			s.problems.add(s.where.in(name), "the secret is one of '%s'. Only that user can set a reference to it.", clip(r.owner))
		}
		return "${secret:" + s.user + ":" + r.name + "}", true
	})
}

// openEntry returns a stored value of a secret_map as it was given.
func openEntry(s Sealer, k Key, name, value string) (string, error) {
	sealed, ok := strings.CutPrefix(value, sealedPrefix)
	if !ok {
		return value, nil
	}
	plain, err := s.Open(sealed, entryContext(k, name))
	if err != nil {
		return "", fmt.Errorf("opening secret_map of %s: %w", k, err)
	}
	return string(plain), nil
}

func entryContext(k Key, name string) string { return k.String() + "/secret_map/" + name }

// ResealSecrets returns d with its sealed values sealed again, and whether there
// were any, for the change of a key. d is not changed.
func ResealSecrets(s Sealer, k Key, d Definition) (Definition, bool, error) {
	changed := false
	resealed, err := d.mapSecrets(func(_ loc, m map[string]string) (map[string]string, error) {
		m = maps.Clone(m)
		for name, value := range m {
			if !strings.HasPrefix(value, sealedPrefix) {
				continue
			}
			plain, err := openEntry(s, k, name, value)
			if err != nil {
				return nil, err
			}
			m[name] = sealedPrefix + s.Seal([]byte(plain), entryContext(k, name))
			changed = true
		}
		return m, nil
	})
	if err != nil || !changed {
		return d, false, err
	}
	return resealed, true, nil
}

// SealedSecrets returns the sealed values of a definition.
func SealedSecrets(d Definition) []string {
	var sealed []string
	for _, m := range d.secretMaps() {
		for _, value := range m.values {
			if text, ok := strings.CutPrefix(value, sealedPrefix); ok {
				sealed = append(sealed, text)
			}
		}
	}
	return sealed
}

// envRefPattern matches a reference to an entry of the secret_map in the
// environment, with or without a description.
var envRefPattern = regexp.MustCompile(`\$\{pods:secrets:([A-Za-z0-9_-]+)(?::\?[^{}]*)?\}`)

// checkEnvRefs reports variables that refer to entries that are not there.
func checkEnvRefs(p *problems, env, secretMap map[string]string) {
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		for _, match := range envRefPattern.FindAllStringSubmatch(env[variable], -1) {
			if _, ok := secretMap[match[1]]; !ok {
				p.add(at("environment_variables", variable), "secret_map has no entry '%s'. Add it, or remove the reference.", clip(match[1]))
			}
		}
	}
}

// FillSecrets replaces, in the values of env, the references to entries of a
// secret_map.
func FillSecrets(env, secrets map[string]string) {
	for variable, value := range env {
		env[variable] = envRefPattern.ReplaceAllStringFunc(value, func(match string) string {
			return secrets[envRefPattern.FindStringSubmatch(match)[1]]
		})
	}
}

// SyntaxWarnings returns a sentence for each variable and each configuration file
// of a pod that holds a ${...} which is not replaced, ordered by name.
func SyntaxWarnings(e Effective) []string {
	return append(environmentWarnings(e.EnvironmentVariables), configWarnings(e.VolumeMounts)...)
}

func environmentWarnings(env map[string]string) []string {
	var warnings []string
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		if refPattern.MatchString(envRefPattern.ReplaceAllString(env[variable], "")) {
			warnings = append(warnings, fmt.Sprintf("environment_variables, %s: holds a ${...} that stays as it is; "+
				"only ${pods:secrets:KEY} is replaced, where KEY is an entry of secret_map.", clip(variable)))
		}
	}
	return warnings
}
