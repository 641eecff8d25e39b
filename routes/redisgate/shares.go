package redisgate

import (
	"context"
	"crypto/subtle"
	_ "embed" // for the script
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ShareKind says how a share is redeemed.
type ShareKind string

// The kinds of shares.
const (
	Link     ShareKind = "link"     // by a secret in a URL
	Password ShareKind = "password" // by a word that people tell each other
)

// Share lets people without an account pass to one host.
type Share struct {
	ID    string    `json:"id"`
	Kind  ShareKind `json:"kind"`
	Label string    `json:"label"` // for the owner, and for the pod

	// Hash of the secret, by [HashLink] or [HashPassword].
	Hash string `json:"hash"`

	// Version is part of what visitors hold: a change ends what was redeemed.
	Version int `json:"version,omitempty"`

	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	MaxUses int       `json:"max_uses,omitempty"`
	Revoked bool      `json:"revoked,omitempty"`
}

// HashLink returns the hash of a link's secret, as [NewSecret] made it.
func HashLink(host, secret string) string { return Hash("share", host, secret) }

// Matches reports whether secret redeems the share at host. For passwords it takes
// some 30 ms of CPU time and 19 MiB.
func (x Share) Matches(host, secret string) bool {
	switch x.Kind {
	case Link:
		return subtle.ConstantTimeCompare([]byte(x.Hash), []byte(HashLink(host, secret))) == 1
	case Password:
		return matchesPassword(x.Hash, host, secret)
	default:
		return false
	}
}

// Valid reports whether what was redeemed still counts.
func (x Share) Valid(now time.Time) bool {
	return !x.Revoked && (x.Expires.IsZero() || now.Before(x.Expires))
}

// SetShares makes the published shares of a host exactly these, and tells every
// edge if that is news. Counted uses stay for the ids that stay.
func (s *Store) SetShares(ctx context.Context, host string, shares []Share) error {
	want := make(map[string]string, len(shares))
	for _, x := range shares {
		b, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("publishing share %q: %w", x.ID, err)
		}
		want[x.ID] = string(b)
	}
	changed, err := s.replaceHash(ctx, s.key("shares", host), want)
	if err == nil && changed {
		err = s.dropUses(ctx, host, want)
	}
	if err != nil {
		return fmt.Errorf("publishing shares of %q: %w", host, err)
	}
	if !changed {
		return nil
	}
	return s.Publish(ctx, Event{Kind: SharesChanged, Host: host})
}

// dropUses forgets the uses of shares that are gone.
func (s *Store) dropUses(ctx context.Context, host string, kept map[string]string) error {
	key := s.key("shares", "uses", host)
	fields, err := s.client.HKeys(ctx, key).Result()
	if err != nil {
		return err
	}
	var gone []string
	for _, f := range fields {
		if _, ok := kept[strings.TrimSuffix(f, lastUse)]; !ok {
			gone = append(gone, f)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return s.client.HDel(ctx, key, gone...).Err()
}

// Shares returns the shares of a host by id. Records that can't be read are
// missing: nobody redeems them.
func (s *Store) Shares(ctx context.Context, host string) (map[string]Share, error) {
	all, err := s.client.HGetAll(ctx, s.key("shares", host)).Result()
	if err != nil {
		return nil, fmt.Errorf("reading shares of %q: %w", host, err)
	}
	return decodeHash[Share](all), nil
}

// lastUse is the suffix of the field that says when a share was last redeemed.
const lastUse = ":last"

//go:embed redeem.lua
var redeemSource string

var redeemScript = redis.NewScript(redeemSource)

// BeginCounting notes that uses are counted from now on, unless that was noted
// before. A Redis that has lost its data has lost that too.
func (s *Store) BeginCounting(ctx context.Context) error {
	_, err := s.client.SetArgs(ctx, s.key("shares", "since"), time.Now().UnixMicro(), redis.SetArgs{Mode: "NX"}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("beginning to count uses of shares: %w", err)
	}
	return nil
}

// countedSince reports whether all uses of a share were counted here.
func (s *Store) countedSince(ctx context.Context, created time.Time) (bool, error) {
	since, err := s.client.Get(ctx, s.key("shares", "since")).Int64()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, err
	default:
		return created.UnixMicro() >= since, nil
	}
}

// Redeem counts one use of a share. It reports false, and counts nothing, if the
// share was redeemed as often as it may be, or if that is not known because it is
// older than the counts, see [Store.BeginCounting].
func (s *Store) Redeem(ctx context.Context, host string, x Share) (bool, error) {
	unusedIfUnknown := true
	var err error
	if x.MaxUses > 0 {
		unusedIfUnknown, err = s.countedSince(ctx, x.Created)
	}
	ok := false
	if err == nil {
		ok, err = redeemScript.Run(ctx, s.client, []string{s.key("shares", "uses", host)},
			x.ID, x.ID+lastUse, x.MaxUses, time.Now().Unix(), unusedIfUnknown).Bool()
	}
	if err != nil {
		return false, fmt.Errorf("redeeming share: %w", err)
	}
	return ok, nil
}

// Uses is how often a share was redeemed.
type Uses struct {
	Count int
	Last  time.Time // zero: never
}

// ShareUses returns the uses of a host's shares by id. Those never used are
// missing.
func (s *Store) ShareUses(ctx context.Context, host string) (map[string]Uses, error) {
	all, err := s.client.HGetAll(ctx, s.key("shares", "uses", host)).Result()
	if err != nil {
		return nil, fmt.Errorf("reading uses of shares of %q: %w", host, err)
	}
	uses := map[string]Uses{}
	for field, v := range all {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			continue // nobody but the script writes here
		}
		id, last := strings.CutSuffix(field, lastUse)
		u := uses[id]
		if last {
			u.Last = time.Unix(n, 0)
		} else {
			u.Count = int(n)
		}
		uses[id] = u
	}
	return uses, nil
}
