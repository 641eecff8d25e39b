package pods

import (
	"context"
	"time"
)

// CertState says whether the edges have a certificate for a host. It is shown, and
// decides nothing.
type CertState string

// The states of a certificate. Empty: nothing is known, as where the edges were
// given their certificates.
const (
	CertProvisioning CertState = "provisioning" // being loaded or ordered
	CertReady        CertState = "ready"
	CertFailed       CertState = "failed" // there is none, or it has expired
)

// Certificate is what is known of the certificate of a host.
type Certificate struct {
	State  CertState
	Since  time.Time // when the state was noted; zero if nothing is known
	Reason string    // of a failed one
}

// EventStore takes events that come from elsewhere than a change of the pod.
type EventStore interface {
	// AddEvents appends to the action log of a pod, as [Store] does it with a
	// change. NotFound if the pod is gone or another pod (UID) has its key.
	AddEvents(ctx context.Context, k Key, uid string, events ...Event) error
}

// WithCertificate returns n with what is known of the certificate of its host.
func (n Networking) WithCertificate(c Certificate) Networking {
	n.CertState, n.CertReady = c.State, c.State == CertReady
	n.CertProvisioningStartedAt, n.CertReadyAt = Timestamp{}, Timestamp{}
	switch c.State {
	case CertProvisioning:
		n.CertProvisioningStartedAt = At(c.Since)
	case CertReady:
		n.CertReadyAt = At(c.Since)
	case CertFailed:
	}
	return n
}
