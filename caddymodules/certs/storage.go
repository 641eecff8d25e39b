package certs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/caddymodules/certs/redisstorage"
	"github.com/tapis-project/podway/caddymodules/internal/options"
	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes/redisroutes"
)

func init() { caddy.RegisterModule(new(Storage)) }

// Storage keeps certificates, their private keys and what else Caddy stores in
// Redis, sealed, so that all edges share them.
type Storage struct {
	// Address of the Redis, as the app podway has it. Placeholders are replaced.
	// Default: the one of the app podway.
	Redis string `json:"redis,omitempty"`

	// Keys that values are sealed with: 32 bytes in base64 each, the first one seals,
	// all of them open. Placeholders such as {env.PODWAY_CERTIFICATES_KEY} are
	// replaced. This or KeyFile is required.
	Key string `json:"key,omitempty"`

	// File with the keys, one a line. Placeholders are replaced.
	KeyFile string `json:"key_file,omitempty"`

	// How long the lock of an edge that died stays. Default: 20s.
	LockTTL caddy.Duration `json:"lock_ttl,omitempty"`

	// Folder that keeps what was read, as sealed as in Redis, for a start without
	// Redis. Placeholders are replaced. Default: none.
	Mirror string `json:"mirror,omitempty"`

	pooled *pooledStorage
	key    string // in storages; "" if not taken
}

// storages holds what configurations with the same settings share: a lock must not
// be lost to a new configuration.
var storages = caddy.NewUsagePool()

type pooledStorage struct {
	*redisstorage.Storage
	client redis.UniversalClient
	stop   context.CancelFunc
}

// Destruct implements [caddy.Destructor].
func (p *pooledStorage) Destruct() error {
	p.stop()
	return errors.Join(p.Close(), p.client.Close())
}

// CaddyModule returns the Caddy module information.
func (*Storage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.podway_redis", New: func() caddy.Module { return new(Storage) }}
}

// Provision reads the keys and takes up the storage that an earlier configuration
// used. It opens no connection.
func (s *Storage) Provision(ctx caddy.Context) error {
	opts, namespace, err := s.redis(ctx)
	if err != nil {
		return err
	}
	ring, err := s.keyring()
	if err != nil {
		return err
	}
	mirror := caddy.NewReplacer().ReplaceAll(s.Mirror, "")
	s.key = fmt.Sprintf("%q %q %q %d %q %s %v %q", opts.Addrs, opts.Username, opts.Password, opts.DB, namespace, ring.ID(), s.LockTTL, mirror)
	v, loaded, err := storages.LoadOrNew(s.key, func() (caddy.Destructor, error) {
		return newPooledStorage(opts, redisstorage.Options{
			Namespace: namespace, Keyring: ring, LockTTL: time.Duration(s.LockTTL), Mirror: mirror, Logger: ctx.Slogger(),
		})
	})
	if err != nil {
		s.key = ""
		return err
	}
	s.pooled = v.(*pooledStorage)
	if !loaded {
		s.pooled.resealSoon(ctx.Slogger())
	}
	return nil
}

// redis returns where the storage is, and the namespace of its keys.
func (s *Storage) redis(ctx caddy.Context) (*redis.UniversalOptions, string, error) {
	app, err := podway.Get(ctx)
	if err != nil {
		return nil, "", err
	}
	opts, namespace, err := app.RedisOptions()
	if err != nil || s.Redis == "" {
		return opts, namespace, err
	}
	opts, err = redisroutes.ParseURL(caddy.NewReplacer().ReplaceAll(s.Redis, ""))
	if err != nil {
		return nil, "", err
	}
	if err := redisroutes.CheckExposed(opts); err != nil && !app.InsecureRedis {
		return nil, "", fmt.Errorf("storage podway_redis: %w", err)
	}
	return opts, namespace, nil
}

func (s *Storage) keyring() (*redisstorage.Keyring, error) {
	repl := caddy.NewReplacer()
	if (s.Key == "") == (s.KeyFile == "") {
		return nil, errors.New("storage podway_redis: give either key or key_file; private keys are never stored in the clear")
	}
	if s.KeyFile != "" {
		return redisstorage.ReadKeyring(repl.ReplaceAll(s.KeyFile, ""))
	}
	return redisstorage.ParseKeyring(repl.ReplaceAll(s.Key, ""))
}

func newPooledStorage(opts *redis.UniversalOptions, o redisstorage.Options) (*pooledStorage, error) {
	o.Client = redis.NewUniversalClient(opts)
	storage, err := redisstorage.New(o)
	if err != nil {
		return nil, errors.Join(err, o.Client.Close())
	}
	return &pooledStorage{Storage: storage, client: o.Client, stop: func() {}}, nil
}

// resealSoon seals what an older key sealed with the first one, in the background.
func (p *pooledStorage) resealSoon(log *slog.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() {
		n, err := p.Reseal(ctx)
		if err != nil && ctx.Err() == nil {
			log.Warn("not all certificate data is known to be sealed with the first key", "error", err)
			return
		}
		log.Debug("certificate data is sealed with the first key", "values", n)
	}()
}

// CertMagicStorage implements [caddy.StorageConverter].
func (s *Storage) CertMagicStorage() (certmagic.Storage, error) { return s.pooled, nil }

// Cleanup gives back what Provision took.
func (s *Storage) Cleanup() error {
	if s.key == "" {
		return nil
	}
	_, err := storages.Delete(s.key)
	return err
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	storage podway_redis {
//		redis    <url>
//		key      <keys>
//		key_file <file>
//		lock_ttl <duration>
//		mirror   <folder>
//	}
func (s *Storage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume storage name
	if d.NextArg() {
		return d.ArgErr()
	}
	texts := map[string]*string{"redis": &s.Redis, "key": &s.Key, "key_file": &s.KeyFile, "mirror": &s.Mirror}
	for d.NextBlock(0) {
		if d.Val() == "lock_ttl" {
			if err := options.Duration(d, &s.LockTTL); err != nil {
				return err
			}
			continue
		}
		p, known := texts[d.Val()]
		if !known {
			return d.Errf("unrecognized subdirective %q", d.Val())
		}
		if !d.AllArgs(p) {
			return d.ArgErr()
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner      = (*Storage)(nil)
	_ caddy.CleanerUpper     = (*Storage)(nil)
	_ caddy.StorageConverter = (*Storage)(nil)
	_ caddyfile.Unmarshaler  = (*Storage)(nil)
	_ certmagic.TryLocker    = (*pooledStorage)(nil)
)
