package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Store is what the API needs of the store.
type Store interface {
	pods.Store
	pods.TemplateStore
	pods.ImageStore
	pods.VolumeStore
	pods.BindingStore
	pods.SecretStore
	pods.DomainStore
	pods.Sealer
	pods.AccessTokenStore
}

// Deps is everything the API needs. Store, Files, Cluster and Identity are
// required.
type Deps struct {
	Store    Store
	Files    pods.Files
	Cluster  pods.Cluster
	Identity pods.Identity
	Settings pods.Settings

	// Login logs visitors of pods in. Nil: nobody can.
	Login Login

	// Certificate tells what is known of the certificate of a host. It must not
	// block. Nil: nothing is known of any.
	Certificate func(host string) pods.Certificate

	// EdgePort is the port in the addresses of pods. Default: 443.
	EdgePort int

	// Wake tells the reconciler that a pod changed. It must not block. Nil: the
	// reconciler finds out by itself.
	Wake func(pods.Key)

	// Limiter bounds how often a user may change things. Nil:
	// [NewMemoryLimiter] with MutationsPerMinute.
	Limiter Limiter
	// MutationsPerMinute is what one user of a tenant may change per minute.
	// Zero disables the limit. It counts only if Limiter is nil.
	MutationsPerMinute int

	// CORSOrigins are the origins whose pages may call the API, for example
	// "https://tacc.develop.tapis.io". "*" stands for all of them. Nil: none.
	CORSOrigins []string

	// Timeout bounds a request that neither streams nor runs commands.
	// Default: 60s.
	Timeout time.Duration

	// Version is sent in every envelope.
	Version string

	Now    func() time.Time // Default: time.Now.
	Logger *slog.Logger     // Default: slog.Default().
}

// server holds what handlers share. It is immutable after New, and so safe for
// concurrent use.
type server struct {
	Deps

	binder *pods.Binder
	spec   func() (specFiles, error) // made when it is first asked for
}

// New returns the handler of the whole API, under /v3/pods and /pods. It is
// safe for concurrent use.
//
// Streams end with the context of their request: a server that shuts down must
// cancel its base context, or it waits for people who follow logs.
func New(d Deps) http.Handler {
	d.Timeout = cmp.Or(d.Timeout, time.Minute)
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.Wake == nil {
		d.Wake = func(pods.Key) {}
	}
	if d.Certificate == nil {
		d.Certificate = func(string) pods.Certificate { return pods.Certificate{} }
	}
	if d.Limiter == nil {
		d.Limiter = NewMemoryLimiter(d.MutationsPerMinute, d.Now)
	}
	binder := &pods.Binder{
		Volumes: d.Store, Secrets: d.Store, Bindings: d.Store, Sealer: d.Store, Identity: d.Identity, Now: d.Now,
	}
	s := &server{Deps: d, binder: binder, spec: sync.OnceValues(func() (specFiles, error) { return newSpecFiles(d.Version) })}
	return s.observe(cors(d.CORSOrigins, cleanSlashes(s.router(operations()))))
}
