package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/tapis-project/podway/controlplane/internal/api"
	"github.com/tapis-project/podway/controlplane/internal/certificates"
	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/files"
	"github.com/tapis-project/podway/controlplane/internal/local"
	"github.com/tapis-project/podway/controlplane/internal/login"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/reconcile"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/tapis"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/routes/redisroutes"
)

// What happens to the API at SIGTERM. It is served for lastCall yet: a balancer may not
// know of the end, and closing the socket resets what waits in it. Requests that are under
// way then have shutdownTimeout.
const (
	lastCall        = 500 * time.Millisecond
	shutdownTimeout = 2 * time.Second
)

// serve runs the control plane of an installation until ctx ends.
func serve(ctx context.Context, c config.Config) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	keys, err := store.LoadKeyFile(c.KeyFile)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, c.Store, store.Options{Keyring: keys})
	if err != nil {
		return err
	}
	defer st.Close()
	if err := st.Ready(ctx); err != nil {
		return err
	}
	choices, err := settings(c)
	if err != nil {
		return err
	}
	cluster, err := openCluster(c, choices, log)
	if err != nil {
		return err
	}
	defer cluster.close()
	gateKeys, err := gateKeyring(c)
	if err != nil {
		return err
	}
	identity, err := tapis.New(tapis.Options{TenantsURL: c.TapisURL, Site: c.Site, Service: serviceAccount(c), Logger: log})
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening for the API: %w", err)
	}
	return run(ctx, parts{
		store: st, cluster: cluster.Cluster, lead: cluster.lead, identity: identity, settings: choices, redisURL: c.RedisURL, namespace: c.Namespace,
		volumes: volumesDir(c, c.StateDir), grace: time.Duration(c.VolumeGraceHours) * time.Hour,
		gateKeys: gateKeys, domains: newDomainOptions(c), listener: listener, lastCall: lastCall, origins: c.AllowedOrigins, mutations: c.MutationsPerMinute, log: log,
	})
}

// settings are the operator's choices for pods.
func settings(c config.Config) (pods.Settings, error) {
	s := pods.DefaultSettings()
	s.Site = c.Site
	s.AdminTenants = c.AdminTenants
	s.MaxVolumeSize = c.MaxVolumeMB
	s.BaseDomains = c.BaseDomains
	if len(c.MainTenants) > 0 {
		s.MainTenants = c.MainTenants
	}
	queues, err := queueNames(c)
	if err != nil {
		return s, err
	}
	if len(queues) > 0 {
		s.ComputeQueues = queues
	}
	images := c.Images
	if c.Cluster == "local" {
		images = append(local.Images(), images...)
	}
	for _, image := range images {
		name, err := pods.CanonicalImage(image)
		if err != nil {
			return s, fmt.Errorf("PODWAY_IMAGES: %w", err)
		}
		s.ImageAllowList = append(s.ImageAllowList, name)
	}
	return s, nil
}

// volumesDir is the folder with all volumes and snapshots.
func volumesDir(c config.Config, stateDir string) string {
	return cmp.Or(c.VolumesDir, filepath.Join(stateDir, "volumes"))
}

func openLocal(stateDir, volumes string, log *slog.Logger) (*local.Cluster, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the podway program: %w", err)
	}
	return local.Open(local.Options{Dir: filepath.Join(stateDir, "pods"), Volumes: volumes, Self: self, Logger: log})
}

// parts is everything a running control plane consists of.
type parts struct {
	store     partsStore
	cluster   pods.Cluster
	lead      func(context.Context, func(context.Context) error) error // as in cluster
	identity  *tapis.Identity
	settings  pods.Settings
	redisURL  string
	namespace string
	volumes   string             // folder with all volumes and snapshots
	grace     time.Duration      // how long the files of a deleted volume are kept
	edgePort  int                // 0: 443
	gateKeys  *redisgate.Keyring // nil: nobody logs in to pods
	domains   domainOptions
	listener  net.Listener
	lastCall  time.Duration // how long the API is served once all is to end
	extra     http.Handler  // serves what the API does not; may be nil
	origins   []string
	mutations int
	log       *slog.Logger
}

// partsStore is everything that is kept.
type partsStore interface {
	api.Store
	pods.EventStore
	login.Store
}

// run wires the parts and runs them until ctx ends or one of them fails.
func run(ctx context.Context, p parts) error {
	redisOptions, err := redisroutes.ParseURL(p.redisURL)
	if err != nil {
		return err
	}
	if err := redisroutes.CheckExposed(redisOptions); err != nil {
		return err
	}
	client := redis.NewUniversalClient(redisOptions)
	defer client.Close()
	publisher, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: client, Namespace: p.namespace, Logger: p.log})
	if err != nil {
		return err
	}
	logins, err := openLogin(p, client)
	if err != nil {
		return err
	}
	tree, err := files.OpenTree(p.volumes)
	if err != nil {
		return err
	}
	keeper := files.NewKeeper(tree, files.Options{Store: p.store, Grace: p.grace, Logger: p.log})
	binder := &pods.Binder{Volumes: p.store, Secrets: p.store, Bindings: p.store, Sealer: p.store, Identity: p.identity}
	reconciler := reconcile.New(reconcile.Deps{
		Store: p.store, Cluster: p.cluster, Routes: publisher, Tenants: p.identity, Pods: p.settings,
		Templates: templatesOf(p.store), Bind: binder.Bind, Domains: p.store.Domains, Shares: sharesOf(logins),
		// Edges drop what they remember of an earlier Redis only once every pod
		// has been published into the present one.
		AfterFullPass: publisher.Complete, Logger: p.log,
	})

	certs, err := certificates.NewWatcher(certificates.Options{Client: client, Namespace: p.namespace, Logger: p.log})
	if err != nil {
		return err
	}

	wakes, err := redisroutes.NewWakes(client, p.namespace, p.log)
	if err != nil {
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	// Requests under way go on when ctx ends, for as long as Shutdown waits for them.
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer endRequests()
	server := &http.Server{
		Handler: rootHandler(p, api.New(api.Deps{
			Store: p.store, Files: keeper, Cluster: p.cluster, Identity: p.identity, Login: loginOf(logins), EdgePort: p.edgePort, Settings: p.settings, Wake: wakeAll(reconciler, wakes), Certificate: certs.Certificate,
			MutationsPerMinute: p.mutations, CORSOrigins: p.origins, Version: version, Logger: p.log,
		})),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	group.Go(func() error {
		work := p.withDomains(p.withCertificates(reconciler.Run, certs), reconciler.Enqueue)
		if p.lead == nil {
			return work(ctx)
		}
		return p.lead(ctx, work)
	})
	group.Go(func() error { return keeper.Run(ctx) })
	group.Go(func() error {
		return wakes.Run(ctx, func(tenant, pod string) { reconciler.Enqueue(pods.Key{Tenant: tenant, ID: pods.ID(pod)}) })
	})
	group.Go(func() error { return certs.Run(ctx) })
	if logins != nil {
		group.Go(func() error { return logins.Run(ctx) })
	}
	group.Go(func() error { return publisher.Watch(ctx, reconciler.EnqueueAll) })
	p.log.Info("serving the API", "address", p.listener.Addr().String(), "version", version)
	group.Go(func() error { return serveAPI(ctx, server, p.listener, p.lastCall) })
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// serveAPI serves until ctx ends, and for lastCall after that. Then it ends in order.
func serveAPI(ctx context.Context, server *http.Server, ln net.Listener, lastCall time.Duration) error {
	group, either := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the API: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-either.Done()
		if ctx.Err() != nil { // it has not failed
			time.Sleep(lastCall)
		}
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := server.Shutdown(stopping); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}

// wakeAll returns what has a pod that was written looked at, by this control plane if
// it leads, and by the one that does.
func wakeAll(r *reconcile.Reconciler, w *redisroutes.Wakes) func(pods.Key) {
	return func(k pods.Key) {
		r.Enqueue(k)
		w.Send(k.Tenant, string(k.ID))
	}
}

// templatesOf returns what finds the definitions of the templates that a pod
// builds on.
func templatesOf(tags pods.TagReader) func(context.Context, pods.Pod) ([]pods.Definition, error) {
	return func(ctx context.Context, p pods.Pod) ([]pods.Definition, error) {
		chain, err := pods.TemplateChain(ctx, tags, p.Definition)
		return pods.Definitions(chain), err
	}
}

// rootHandler gives the API what is its own, and the rest to the extra handler.
func rootHandler(p parts, api http.Handler) http.Handler {
	if p.extra == nil {
		return api
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	for _, prefix := range []string{"/v3/oauth2/", "/v3/tenants", "/v3/tenants/", "/v3/sites", "/v3/sites/", "/v3/security/", "/v3/tokens"} {
		mux.Handle(prefix, p.extra)
	}
	return mux
}
