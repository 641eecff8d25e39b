package pods

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Binder binds pods to what lies outside of them and their definitions refer to:
// volumes, snapshots and secrets.
//
//	err := binder.Check(ctx, pod, effective)           // before a pod is stored
//	w := pods.BuildWorkload(pod, effective, creds)
//	err = binder.Bind(ctx, pod, effective, &w)         // at each start
//
// A reference counts as long as the one who made it may use both its target and
// the pod: for a mount that is [VolumeMount.MountedBy] or, if a template gives it,
// the pod's owner; for a secret its owner. All fields but Now are required. It is
// safe for concurrent use.
type Binder struct {
	Volumes  VolumeStore
	Secrets  SecretStore
	Bindings BindingStore
	Sealer   Sealer
	Identity Identity

	Now func() time.Time // Default: time.Now.
}

// Check reports whether a pod could be bound now. The error has code Invalid and
// one message per problem, or is a part's that does not answer.
func (b *Binder) Check(ctx context.Context, p Pod, e Effective) error {
	_, err := b.look(ctx, p, e)
	return err
}

// Bind fills in the secrets of a workload that [BuildWorkload] made of p and e,
// generates the values that are to be generated once, and remembers what the pod
// uses. The error is as that of Check; the audit logs of secrets have it, too.
func (b *Binder) Bind(ctx context.Context, p Pod, e Effective, w *Workload) error {
	found, err := b.look(ctx, p, e)
	if err != nil {
		b.auditFailure(ctx, p, e)
		return err
	}
	values, err := b.secretValues(ctx, p, e, found, func(s Secret) (string, error) {
		return b.Secrets.SecretValue(ctx, s.SecretKey, s.UID)
	})
	if err != nil {
		return err
	}
	if err := b.Bindings.SetBindings(ctx, p.Key, p.UID, found.bindings(), Fingerprints(p, e)); err != nil {
		return missing(err)
	}
	for _, s := range found.secrets {
		if err := b.Secrets.AddSecretEvents(ctx, s.SecretKey, b.event(SecretInjected, p)); err != nil {
			return fmt.Errorf("recording the use of a secret: %w", err)
		}
	}
	FillSecrets(w.Env, values)
	FillConfigs(w.VolumeMounts, values)
	return b.keepConfigs(ctx, p, w.VolumeMounts)
}

// Reveal returns the values of a pod's secret_map for somebody to look at, which
// the audit logs of secrets note. Values that are to be generated once are
// generated. Secrets that can't be read are [WriteOnly], unless writeOnly is set.
// Whether the actor may do that is the caller's to check. The error is as that of
// Check.
func (b *Binder) Reveal(ctx context.Context, p Pod, e Effective, actor string, writeOnly bool) (map[string]string, error) {
	found, err := b.look(ctx, p, e)
	if err != nil {
		return nil, err
	}
	return b.secretValues(ctx, p, e, found, func(s Secret) (string, error) {
		read := b.event(SecretRead, p)
		read.Actor = actor
		hidden := !s.Readable && !writeOnly
		if hidden {
			read.Kind = SecretReadDenied
		}
		if err := b.Secrets.AddSecretEvents(ctx, s.SecretKey, read); err != nil || hidden {
			return WriteOnly, err
		}
		return b.Secrets.SecretValue(ctx, s.SecretKey, s.UID)
	})
}

// missing turns NotFound into Invalid: for the pod's owner it is the definition
// that is wrong.
func missing(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Code == NotFound {
		return &Error{Code: Invalid, Messages: e.Messages, Cause: e}
	}
	return err
}

func (b *Binder) event(k SecretEventKind, p Pod) SecretEvent {
	now := time.Now
	if b.Now != nil {
		now = b.Now
	}
	return SecretEvent{At: now().UTC(), Kind: k, Actor: p.Owner, Pod: p.ID}
}

// outside is what a pod refers to.
type outside struct {
	tenant  Tenant
	volumes []VolumeKey
	secrets map[string]Secret // by owner:name
}

func (o outside) bindings() []Binding {
	var bs []Binding
	for _, k := range o.volumes {
		bs = append(bs, Binding{Kind: k.Kind, ID: k.ID})
	}
	for _, name := range slices.Sorted(maps.Keys(o.secrets)) {
		s := o.secrets[name]
		bs = append(bs, Binding{Kind: KindSecret, Owner: s.Owner, ID: s.ID})
	}
	return bs
}

// look finds what a pod refers to and checks that it may.
func (b *Binder) look(ctx context.Context, p Pod, e Effective) (outside, error) {
	var problems problems
	found := outside{secrets: map[string]Secret{}}
	var err error
	if found.tenant, err = b.Identity.Tenant(ctx, p.Tenant); err != nil {
		return found, fmt.Errorf("looking up tenant: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(e.VolumeMounts)) {
		k, ok := e.VolumeMounts[key].Volume(p.Tenant, key)
		if !ok {
			continue
		}
		if !slices.Contains(found.volumes, k) {
			found.volumes = append(found.volumes, k)
		}
		check := mountCheck{Binder: b, pod: p, tenant: found.tenant, problems: &problems, where: at("volume_mounts", key)}
		if err := check.mount(ctx, k, e.VolumeMounts[key]); err != nil {
			return found, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.SecretMap)) {
		if err := b.lookEntry(ctx, p, name, e, found, &problems); err != nil {
			return found, err
		}
	}
	checkEnvRefs(&problems, e.EnvironmentVariables, e.SecretMap)
	checkConfigRefs(&problems, e.VolumeMounts, e.SecretMap)
	return found, problems.err()
}

// mountCheck checks the mounts of one pod.
type mountCheck struct {
	*Binder
	pod      Pod
	tenant   Tenant
	problems *problems
	where    loc
}

func (c mountCheck) mount(ctx context.Context, k VolumeKey, m VolumeMount) error {
	user := m.MountedBy
	if user == "" {
		user = c.pod.Owner
	}
	v, found, err := c.volume(ctx, k)
	if err != nil {
		return err
	}
	level := v.Permissions.Level(user)
	switch {
	case found && level.Includes(k.needed()) && c.holdsPod(user):
	case found && c.Identity.Admin(ctx, Principal{User: user, Tenant: c.tenant}):
	case !level.Includes(LevelRead): // to those it looks as if it were not there
		c.problems.add(c.where, "volume_mounts key must be a valid %[1]s_id when type == '%[2]s'. Could not find %[1]s_id: %[3]s.",
			k.Kind, m.Type, clip(k.ID))
		return nil
	case !level.Includes(k.needed()):
		c.problems.add(c.where, "User '%s' does not have permission to mount %s_id: %s. %s is needed.", user, k.Kind, k.ID, k.needed())
		return nil
	default:
		c.problems.add(c.where, "it was mounted by '%s', who has no permission on the pod any more. Mount it again, or remove it.", user)
		return nil
	}
	if !v.Mountable() {
		c.problems.add(c.where, "%s %s can't be mounted while its status is %s.", k.Kind, k.ID, v.State.Status)
	}
	return nil
}

// volume returns a volume, and whether it is there.
func (c mountCheck) volume(ctx context.Context, k VolumeKey) (v Volume, found bool, err error) {
	v, err = c.Volumes.Volume(ctx, k)
	if ErrorCode(err) == NotFound {
		return Volume{}, false, nil
	}
	return v, err == nil, err
}

// holdsPod reports whether a user may still bind things to the pod.
func (c mountCheck) holdsPod(user string) bool {
	return c.pod.Permissions.Level(user).Includes(LevelUser)
}

// lookEntry finds the secrets of one entry of a secret_map.
func (b *Binder) lookEntry(ctx context.Context, p Pod, name string, e Effective, found outside, problems *problems) error {
	where := at("secret_map", name)
	value, err := openEntry(b.Sealer, p.Key, name, e.SecretMap[name])
	if err != nil {
		return err
	}
	var failed error
	expandRefs(value, func(r secretRef) (string, bool) {
		switch r.kind {
		case refRequired:
			problems.add(where, "a value is required: %s", clip(r.description))
		case refNet:
			if _, ok := e.Networking[r.net]; !ok {
				problems.add(where, "networking has no entry '%s'.", clip(r.net))
			}
		case refSecret:
			if err := b.lookSecret(ctx, p, r, found, problems, where); err != nil {
				failed = err
			}
		default:
		}
		return "", false
	})
	return failed
}

func (b *Binder) lookSecret(ctx context.Context, p Pod, r secretRef, found outside, problems *problems, where loc) error {
	s, err := b.Secrets.Secret(ctx, SecretKey{Tenant: p.Tenant, Owner: r.owner, ID: r.name})
	switch {
	case ErrorCode(err) == NotFound:
		problems.add(where, "user '%s' has no secret '%s'.", clip(r.owner), clip(r.name))
	case err != nil:
		return err
	case !s.UsableBy(p.ID):
		problems.add(where, "secret '%s' can be used by pod '%s' only.", s.Name(), s.Pod)
	case !p.Permissions.Level(r.owner).Includes(LevelUser):
		problems.add(where, "secret '%s' is one of '%s', who has no permission on the pod any more.", clip(r.name), clip(r.owner))
	default:
		found.secrets[s.Name()] = s
	}
	return nil
}

// secretValues returns the values of a secret_map, of which valueOf gives those of
// secrets.
func (b *Binder) secretValues(ctx context.Context, p Pod, e Effective, found outside, valueOf func(Secret) (string, error)) (map[string]string, error) {
	opened := make(map[string]string, len(e.SecretMap))
	generated := map[string]string{}
	for name, value := range e.SecretMap {
		text, err := openEntry(b.Sealer, p.Key, name, value)
		if err != nil {
			return nil, err
		}
		opened[name] = text
		expandRandom(name, text, func(id string, length int) string {
			generated[id] = randomText(length, randomAlphabet)
			return ""
		})
	}
	if len(generated) > 0 {
		var err error
		if generated, err = b.Secrets.KeepPodSecrets(ctx, p.Key, p.UID, generated); err != nil {
			return nil, fmt.Errorf("keeping generated values: %w", err)
		}
	}
	secrets := make(map[string]string, len(found.secrets))
	for name, s := range found.secrets {
		value, err := valueOf(s)
		if err != nil {
			return nil, missing(err)
		}
		secrets[name] = value
	}
	for name, text := range opened {
		random := func(id string, _ int) string { return generated[id] }
		opened[name] = expandEntry(name, text, random, func(r secretRef) (string, bool) {
			return resolveRef(r, p, e, found.tenant, secrets)
		})
	}
	return opened, nil
}

// expandEntry replaces all references of an entry at once, so that values are not
// searched again.
func expandEntry(name, text string, random func(id string, length int) string, other func(secretRef) (string, bool)) string {
	n := 0
	return expandRefs(text, func(r secretRef) (string, bool) {
		if r.kind != refRandom {
			return other(r)
		}
		n++
		return random(randomID(name, r.length, n), r.length), true
	})
}

// expandRandom calls random for each value of an entry that is generated.
func expandRandom(name, text string, random func(id string, length int) string) {
	expandEntry(name, text, random, func(secretRef) (string, bool) { return "", false })
}

// randomID names the n-th generated value of an entry. It holds the length, so
// that one of another length is generated anew.
func randomID(name string, length, n int) string {
	return name + ":" + strconv.Itoa(length) + "#" + strconv.Itoa(n)
}

func resolveRef(r secretRef, p Pod, e Effective, t Tenant, secrets map[string]string) (string, bool) {
	switch r.kind {
	case refSecret:
		return secrets[r.owner+":"+r.name], true
	case refPodID:
		return string(p.ID), true
	case refNet:
		return netField(e.Networking[r.net], r.field, t), true
	case refDefault:
		return r.value, true
	default:
		return "", false
	}
}

func netField(n Networking, field string, t Tenant) string {
	switch field {
	case "port":
		return strconv.Itoa(n.Port)
	case "protocol":
		return string(n.Protocol)
	case "tapis_url":
		return t.Domain()
	default: // url, hostname
		return n.URL
	}
}

// randomAlphabet is what generated values are made of.
const randomAlphabet = passwordAlphabet + "!@#$%^&*"

// auditFailure notes in the audit logs of all secrets that a pod refers to that
// it could not be started with them. The start has failed anyway, so a failure of
// this is not told.
func (b *Binder) auditFailure(ctx context.Context, p Pod, e Effective) {
	keys := map[SecretKey]bool{}
	for name, value := range e.SecretMap {
		text, err := openEntry(b.Sealer, p.Key, name, value)
		if err != nil {
			continue
		}
		expandRefs(text, func(r secretRef) (string, bool) {
			if r.kind == refSecret {
				keys[SecretKey{Tenant: p.Tenant, Owner: r.owner, ID: r.name}] = true
			}
			return "", false
		})
	}
	for k := range keys {
		_ = b.Secrets.AddSecretEvents(ctx, k, b.event(SecretResolutionFailed, p))
	}
}

// ClaimMounts writes into the mounts that a definition sets, and into its answers
// about those of a template, who mounted them, where before is the definition that
// it comes over, and level what the user holds on the pod.
// Mounts that are as they were stay the ones of who mounted them. Neither
// definition is changed.
//
// Forbidden if the user changes what another one has mounted, unless the user
// holds ADMIN.
func ClaimMounts(user string, level Level, before, d Definition) (Definition, error) {
	c := claimer{user: user, admin: level.Includes(LevelAdmin)}
	if d.VolumeMounts.IsSet() {
		now, err := claim(c, at("volume_mounts"), before.VolumeMounts.Or(nil), d.VolumeMounts.Or(nil), mountClaim)
		if err != nil {
			return d, err
		}
		if !d.VolumeMounts.IsNull() {
			d.VolumeMounts = Set(now)
		}
	}
	if !d.TemplateOverrides.IsSet() {
		return d, nil
	}
	overrides := d.TemplateOverrides.Or(TemplateOverrides{})
	was := before.TemplateOverrides.Or(TemplateOverrides{}).VolumeMounts
	now, err := claim(c, at("template_overrides", "volume_mounts"), was, overrides.VolumeMounts, overrideClaim)
	if err != nil {
		return d, err
	}
	if !d.TemplateOverrides.IsNull() {
		overrides.VolumeMounts = now
		d.TemplateOverrides = Set(overrides)
	}
	return d, nil
}

// claimer is who changes mounts.
type claimer struct {
	user  string
	admin bool // of the pod
}

// mountClaim returns where the name of who mounted it stands, nil if the entry
// mounts nothing.
func mountClaim(m *VolumeMount) *string {
	if m.removes() {
		return nil
	}
	return &m.MountedBy
}

func overrideClaim(m *MountOverride) *string { return &m.MountedBy }

// claim writes the claimer's name into the entries of now that are not in was.
func claim[M comparable](c claimer, where loc, was, now map[string]M, by func(*M) *string) (map[string]M, error) {
	now = maps.Clone(now)
	for _, key := range slices.Sorted(maps.Keys(was)) {
		old := was[key]
		m, kept := now[key]
		if name := by(&old); name != nil && kept && by(&m) != nil {
			*by(&m) = *name
		}
		if kept && m == old {
			now[key] = m
			continue
		}
		if name := by(&old); name != nil && *name != "" && *name != c.user && !c.admin {
			return nil, Errorf(Forbidden, "%s: was mounted by '%s'. Only that user, or an ADMIN of the pod, can change it.", where.in(clip(key)), *name)
		}
	}
	for key, m := range now {
		if old, ok := was[key]; ok && m == old {
			continue
		}
		if name := by(&m); name != nil {
			*name = c.user
			now[key] = m
		}
	}
	return now, nil
}
