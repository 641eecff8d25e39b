package pods

import (
	"slices"
	"strings"
	"time"
)

// SecretKey names a secret within the site. Every user has names of their own.
type SecretKey struct {
	Tenant string
	Owner  string // who created it
	ID     string
}

// String returns "tenant/owner/id".
func (k SecretKey) String() string { return k.Tenant + "/" + k.Owner + "/" + k.ID }

// Name returns "owner:id", which names the secret within its tenant.
func (k SecretKey) Name() string { return k.Owner + ":" + k.ID }

// NotFound returns the error that says that there is no such secret.
func (k SecretKey) NotFound() *Error {
	return Errorf(NotFound, "Secret with identifier secret_id: '%s' not found", clip(k.ID))
}

// SecretScope says which pods may use a secret.
type SecretScope string

// The scopes of a secret on the wire.
const (
	ScopeUser SecretScope = "user" // every pod of the tenant on which the owner holds USER
	ScopePod  SecretScope = "pod"  // one pod
)

// Secret is a secret without its value, which is read on its own.
type Secret struct {
	SecretKey

	// UID names this secret among all that ever had its key.
	UID string

	Description string
	Scope       SecretScope
	Pod         ID   // which pod may use it; "" unless the scope is ScopePod
	Readable    bool // the value can be read through the API
	Writable    bool // the value can be changed
	Permissions Permissions
	Version     int64 // grows with each write; for optimistic locking
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// UsableBy reports whether a pod may use the secret.
func (s Secret) UsableBy(pod ID) bool { return s.Scope != ScopePod || s.Pod == pod }

// SecretEvent is one line of the audit log of a secret. It tells nothing of the
// value.
type SecretEvent struct {
	At    time.Time // UTC
	Kind  SecretEventKind
	Actor string // the user; for what happens at a pod's start the pod's owner
	Pod   ID     // the pod it is about; "" if none
}

// SecretEventKind says what happened to a secret.
type SecretEventKind string

// The kinds of secret events.
const (
	SecretCreated          SecretEventKind = "SECRET_CREATED"
	SecretRead             SecretEventKind = "SECRET_READ"
	SecretReadDenied       SecretEventKind = "SECRET_READ_DENIED"
	SecretUpdated          SecretEventKind = "SECRET_UPDATED"
	SecretWriteDenied      SecretEventKind = "SECRET_WRITE_DENIED"
	SecretDeleted          SecretEventKind = "SECRET_DELETED"
	SecretInjected         SecretEventKind = "SECRET_INJECTED"
	SecretResolutionFailed SecretEventKind = "SECRET_RESOLUTION_FAILED" //nolint:gosec // the name of an event
)

// Limits of a secret.
const (
	maxSecretID          = 110
	maxSecretValue       = 32 << 10 // bytes; an environment of Linux takes 128 KiB for one variable
	maxSecretDescription = 500
)

// NewSecret is the decoded body of a request that creates a secret.
type NewSecret struct {
	ID          string
	Value       string
	Description string
	Scope       SecretScope
	Pod         ID
	Readable    bool
	Writable    bool
}

// SecretPatch is the decoded body of a request that updates a secret: only
// fields that are set change.
type SecretPatch struct {
	Value       Opt[string]
	Description Opt[string]
	Readable    Opt[bool]
	Writable    Opt[bool]
}

// DecodeNewSecret decodes and validates the body of a request that creates a
// secret. The error is as that of [DecodeNewPod]; it never repeats the value.
func DecodeNewSecret(body []byte) (NewSecret, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return NewSecret{}, p.err()
	}
	if !o.given("secret_value") {
		p.add(o.where.in("secret_value"), "field required")
	}
	n := NewSecret{ID: takeSecretID(o)}
	patch := takeSecretPatch(o)
	n.Scope, n.Pod = takeSecretScope(o)
	o.done()
	n.Value, n.Description = patch.Value.Or(""), patch.Description.Or("")
	n.Readable, n.Writable = patch.Readable.Or(true), patch.Writable.Or(true)
	return n, p.err()
}

// DecodeSecretPatch decodes and validates the body of a request that updates a
// secret. The error is as that of [DecodeNewPod]; it never repeats the value.
func DecodeSecretPatch(body []byte) (SecretPatch, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return SecretPatch{}, p.err()
	}
	o.nulls = true
	patch := takeSecretPatch(o)
	o.done()
	return patch, p.err()
}

// Apply returns s with the fields that the patch sets, apart from the value. s is
// not changed. Forbidden if the patch takes a protection away again.
func (p SecretPatch) Apply(s Secret) (Secret, error) {
	readable, writable := p.Readable.Or(s.Readable), p.Writable.Or(s.Writable)
	if readable && !s.Readable || writable && !s.Writable {
		return s, Errorf(Forbidden, "readable and writable can't be set back to true. Delete the secret and create it again.")
	}
	s.Description = p.Description.Or(s.Description)
	s.Readable, s.Writable = readable, writable
	return s, nil
}

func takeSecretPatch(o *object) SecretPatch {
	var patch SecretPatch
	take(o, "secret_value", &patch.Value, readString)
	take(o, "description", &patch.Description, readString)
	take(o, "readable", &patch.Readable, readBool)
	take(o, "writable", &patch.Writable, readBool)
	if n := len(patch.Value.Or("")); n > maxSecretValue {
		o.problems.add(at("secret_value"), "secret_value must have at most %d bytes. Inputted length: %d", maxSecretValue, n)
	}
	checkText(o.problems, at("description"), "description", patch.Description.Or(""), maxSecretDescription)
	return patch
}

func takeSecretID(o *object) string {
	id := takeRequired(o, "secret_id")
	if id != "" && !isSecretName(id) {
		o.problems.add(at("secret_id"), "secret_id must consist of letters, digits, '_' and '-'.")
	}
	if len(id) > maxSecretID {
		o.problems.add(at("secret_id"), "secret_id must have at most %d characters. Inputted length: %d", maxSecretID, len(id))
	}
	return id
}

func takeSecretScope(o *object) (SecretScope, ID) {
	var scope, pod Opt[string]
	take(o, "scope", &scope, readString)
	takeNullable(o, "pod_id", &pod, readString)
	s, id := SecretScope(scope.Or(string(ScopeUser))), pod.Or("")
	scopes := []SecretScope{ScopeUser, ScopePod}
	switch {
	case !slices.Contains(scopes, s):
		o.problems.add(at("scope"), "scope must be one of the following: %s.", quoteList(scopes))
	case s == ScopePod && id == "":
		o.problems.add(at("pod_id"), "pod_id is required if scope is 'pod'.")
	case s == ScopeUser && id != "":
		o.problems.add(at("pod_id"), "pod_id can only be given if scope is 'pod'.")
	}
	return s, ID(id)
}

// isSecretName reports whether s can name a secret, or an entry of a secret_map.
func isSecretName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

// SecretView is a secret as the API shows it. Make one with [NewSecretView].
type SecretView struct {
	SecretID     string      `json:"secret_id"`
	Scope        SecretScope `json:"scope"`
	PodID        ID          `json:"pod_id"` // "" unless the scope is "pod"
	Description  string      `json:"description"`
	Readable     bool        `json:"readable"`
	Writable     bool        `json:"writable"`
	SKSecretName string      `json:"sk_secret_name"` // "owner:secret_id": names the secret for others than its owner
	CreationTS   Timestamp   `json:"creation_ts"`
	AddedBy      string      `json:"added_by"`
}

// NewSecretView renders a secret.
func NewSecretView(s Secret) SecretView {
	return SecretView{
		SecretID: s.ID, Scope: s.Scope, PodID: s.Pod, Description: s.Description, Readable: s.Readable, Writable: s.Writable,
		SKSecretName: s.Name(), CreationTS: At(s.CreatedAt), AddedBy: s.Owner,
	}
}

// Line renders the event for people: "YY/MM/DD HH:MM: 'ann' SECRET_READ".
func (e SecretEvent) Line() string {
	text := "'" + e.Actor + "' " + string(e.Kind)
	if e.Pod != "" {
		text += " for pod " + string(e.Pod)
	}
	return Event{At: e.At, Text: text}.Line()
}
