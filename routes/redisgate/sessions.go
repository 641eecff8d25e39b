package redisgate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Default times of sessions.
const (
	// SessionLifetime is how long a session lasts, used or not.
	SessionLifetime = 8 * time.Hour

	// SessionIdle is how long a session lasts that is not used.
	SessionIdle = time.Hour
)

// logoutTTL is how long Redis remembers that a user logged out everywhere. It is
// longer than any session that began before may last.
const logoutTTL = 31 * 24 * time.Hour

// MaxSessionLifetime bounds what a session's lifetime can be set to.
const MaxSessionLifetime = 30 * 24 * time.Hour

// Session says who logged in at one host, for one pod.
type Session struct {
	Host     string    `json:"host"`
	Pod      string    `json:"pod"`
	Username string    `json:"username"`
	Tenant   string    `json:"tenant"` // of the user
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"` // whether it is used or not
}

// A session's id is what the browser holds: 32 random bytes and 16 bytes of a MAC
// that binds them to host and pod, in base64url. Ids that somebody made up are
// found out without asking Redis.
const (
	sessionIDBytes = SecretBytes + 16
	sessionIDChars = sessionIDBytes / 3 * 4
)

func sessionPlace(host, pod string) string { return host + "\x00" + pod }

func (s *Store) newSessionID(host, pod string) string {
	secret, _ := base64.RawURLEncoding.DecodeString(NewSecret())
	mac := s.ring.MAC("session", sessionPlace(host, pod), secret)
	return base64.RawURLEncoding.EncodeToString(append(secret, mac[:16]...))
}

// KnowsSessionID reports whether id was made by a store with the same keys for
// this host and pod. It does not say that the session still exists.
func (s *Store) KnowsSessionID(id, host, pod string) bool {
	if len(id) != sessionIDChars {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(id)
	return err == nil && len(b) == sessionIDBytes &&
		s.ring.CheckMAC("session", sessionPlace(host, pod), b[:SecretBytes], b[SecretBytes:])
}

// SessionKey returns the hash under which a session is stored, and by which
// [Event] names it.
func SessionKey(id, host, pod string) string { return Hash(id, host, pod) }

// CreateSession stores a session that ends when it is not used for idle, and at
// its Expires at the latest. It returns the id for the browser.
func (s *Store) CreateSession(ctx context.Context, x Session, idle time.Duration) (id string, err error) {
	id = s.newSessionID(x.Host, x.Pod)
	key := s.key("session", SessionKey(id, x.Host, x.Pod))
	sealed, err := SealJSON(s.ring, "session", key, x)
	if err != nil {
		return "", err
	}
	if err := s.client.Set(ctx, key, sealed, idleLeft(x, idle)).Err(); err != nil {
		return "", fmt.Errorf("storing session: %w", err)
	}
	return id, nil
}

// idleLeft returns how long a session may stay that is not used from now on.
func idleLeft(x Session, idle time.Duration) time.Duration {
	return max(min(idle, time.Until(x.Expires)), time.Millisecond)
}

// Session returns a session, or [ErrNotFound] if there is none that is valid. One
// that its user has ended by logging out everywhere is not.
func (s *Store) Session(ctx context.Context, id, host, pod string) (Session, error) {
	if !s.KnowsSessionID(id, host, pod) {
		return Session{}, ErrNotFound
	}
	key := s.key("session", SessionKey(id, host, pod))
	sealed, err := s.client.Get(ctx, key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return Session{}, ErrNotFound
	case err != nil:
		return Session{}, fmt.Errorf("looking up session: %w", err)
	}
	x, err := OpenJSON[Session](s.ring, "session", key, sealed)
	if err != nil || x.Host != host || x.Pod != pod || !time.Now().Before(x.Expires) {
		return Session{}, ErrNotFound // sealed by a key we don't have: as good as none
	}
	voided, err := s.loggedOutAt(ctx, x.Tenant, x.Username)
	if err != nil {
		return Session{}, err
	}
	if !x.Created.After(voided) {
		return Session{}, ErrNotFound
	}
	return x, nil
}

// TouchSession says that a session was used. It reports false if the session is
// gone.
func (s *Store) TouchSession(ctx context.Context, sessionKey string, x Session, idle time.Duration) (bool, error) {
	ok, err := s.client.PExpire(ctx, s.key("session", sessionKey), idleLeft(x, idle)).Result()
	if err != nil {
		return false, fmt.Errorf("touching session: %w", err)
	}
	return ok, nil
}

// EndSession removes a session and tells every edge.
func (s *Store) EndSession(ctx context.Context, sessionKey string) error {
	if err := s.client.Del(ctx, s.key("session", sessionKey)).Err(); err != nil {
		return fmt.Errorf("ending session: %w", err)
	}
	return s.Publish(ctx, Event{Kind: SessionEnded, Session: sessionKey})
}

// dropAtOnce bounds how many sessions one command removes.
const dropAtOnce = 500

// DropSessions removes sessions that no edge admits any more, and tells nobody.
func (s *Store) DropSessions(ctx context.Context, sessionKeys []string) error {
	for some := range slices.Chunk(sessionKeys, dropAtOnce) {
		keys := make([]string, len(some))
		for i, k := range some {
			keys[i] = s.key("session", k)
		}
		if err := s.client.Del(ctx, keys...).Err(); err != nil {
			return fmt.Errorf("dropping sessions: %w", err)
		}
	}
	return nil
}

func userHash(tenant, username string) string { return Hash(tenant, strings.ToLower(username)) }

// LogoutEverywhere ends all sessions of a user, at all pods, and tells every edge.
func (s *Store) LogoutEverywhere(ctx context.Context, tenant, username string) error {
	now := time.Now()
	if err := s.client.Set(ctx, s.key("logout", userHash(tenant, username)), now.UnixMilli(), logoutTTL).Err(); err != nil {
		return fmt.Errorf("logging out everywhere: %w", err)
	}
	return s.Publish(ctx, Event{Kind: UserLoggedOut, Tenant: tenant, Username: username, Until: now})
}

// loggedOutAt returns when a user logged out everywhere, the zero time if never.
// It is rounded up: a session of the same millisecond is ended too.
func (s *Store) loggedOutAt(ctx context.Context, tenant, username string) (time.Time, error) {
	v, err := s.client.Get(ctx, s.key("logout", userHash(tenant, username))).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("looking up logout: %w", err)
	}
	ms, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return time.Now(), nil //nolint:nilerr // what can't be read must not keep a session alive
	}
	return time.UnixMilli(ms + 1), nil
}
