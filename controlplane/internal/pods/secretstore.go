package pods

import "context"

// SecretStore keeps secrets, their values encrypted. All methods are safe for
// concurrent use. Errors are as those of [Store]. A method that takes an event
// writes it with the change, in one transaction.
type SecretStore interface {
	// CreateSecret writes a secret, which gets Version 1, and its value. Exists if
	// the key is taken, with nothing written.
	CreateSecret(ctx context.Context, s Secret, value string, e SecretEvent) error

	// Secret returns one secret. NotFound if there is none.
	Secret(ctx context.Context, k SecretKey) (Secret, error)

	// Secrets returns the secrets a query selects, ordered by tenant, owner and
	// id.
	Secrets(ctx context.Context, q SecretQuery) ([]Secret, error)

	// SecretValue returns the value of a secret. NotFound if it is gone or has
	// another UID.
	SecretValue(ctx context.Context, k SecretKey, uid string) (string, error)

	// UpdateSecret writes Description, Readable, Writable, Permissions and
	// UpdatedAt of a secret that was read at s.Version, and its value unless that
	// is nil. Conflict if it was written meanwhile, NotFound if it is gone or has
	// another UID. Returns the secret as stored.
	UpdateSecret(ctx context.Context, s Secret, value *string, e SecretEvent) (Secret, error)

	// DeleteSecret removes a secret with its value, not with its events. NotFound
	// if it is gone or has another UID.
	DeleteSecret(ctx context.Context, k SecretKey, uid string, e SecretEvent) error

	// AddSecretEvents appends to the audit log of a secret, which need not exist.
	AddSecretEvents(ctx context.Context, k SecretKey, es ...SecretEvent) error

	// SecretEvents returns the audit log of a key, oldest first, the newest
	// [MaxEvents] at most.
	SecretEvents(ctx context.Context, k SecretKey) ([]SecretEvent, error)

	// KeepPodSecrets stores generated values of a pod under names that have none
	// yet and returns all values of these names as they are stored then, so that
	// what was generated first stays. The values go with the pod. NotFound if the
	// pod is gone or has another UID.
	KeepPodSecrets(ctx context.Context, k Key, uid string, values map[string]string) (map[string]string, error)

	// DropPodSecrets forgets the values that are kept under names; there may be
	// none. NotFound if the pod is gone or has another UID.
	DropPodSecrets(ctx context.Context, k Key, uid string, names ...string) error
}

// SecretQuery selects secrets. The zero value selects every one of the site.
type SecretQuery struct {
	Tenant string // "" means all tenants
	// User selects secrets on which the user, or "*", holds READ or more. ""
	// selects all.
	User string
	ID   string // "" means all names
}

// Sealer encrypts small texts. What it seals opens only with the same context,
// which names the place the text belongs to.
type Sealer interface {
	Seal(plain []byte, context string) string
	Open(sealed, context string) ([]byte, error)
}
