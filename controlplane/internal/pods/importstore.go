package pods

import "context"

// ImportedPod is a pod with all that another service kept of it.
type ImportedPod struct {
	Pod
	Credentials Credentials
	Events      []Event // oldest first, one at least
	Logs        []byte  // of the container; the newest [MaxLogBytes] are kept
}

// ImportStore takes what another service kept. Errors are as those of [Store].
type ImportStore interface {
	// ImportPod writes a pod with all that belongs to it in one transaction, as
	// CreatePod of [Store] does. Exists if the key is taken, with nothing written.
	ImportPod(ctx context.Context, p ImportedPod) error

	// ImportTemplate writes a template and versions of its tags, with their Stamps,
	// in one transaction. If the template (UID) is there already, only the versions
	// that are missing are written. It returns how many were. Exists if another
	// template has the id, with nothing written.
	ImportTemplate(ctx context.Context, t Template, tags []TemplateTag) (added int, err error)
}
