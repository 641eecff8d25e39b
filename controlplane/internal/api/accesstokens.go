package api

import (
	"crypto/rand"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// accessToken is an access token as it is shown: never its secret.
type accessToken struct {
	ID         string               `json:"id"`
	PodID      pods.ID              `json:"pod_id"`
	Label      string               `json:"label"`
	Kind       pods.AccessTokenKind `json:"kind"`
	CreatedBy  string               `json:"created_by"`
	CreatedAt  pods.Timestamp       `json:"created_at"`
	ExpiresAt  pods.Timestamp       `json:"expires_at"` // null: never
	MaxUses    *int                 `json:"max_uses"`   // null: no bound
	Uses       int                  `json:"uses"`
	Revoked    bool                 `json:"revoked"`
	LastUsedAt pods.Timestamp       `json:"last_used_at"` // null: never
}

// newAccessToken is one that was just made: the only time that its secret is shown.
type newAccessToken struct {
	accessToken

	Secret        string `json:"secret"`
	RedemptionURL string `json:"redemption_url"` // of links
}

// createAccessToken makes a link or a password that leads to a pod.
func (s *server) createAccessToken(r *request) (answer, error) {
	if s.Login == nil {
		return answer{}, errNoLogin()
	}
	n, err := pods.DecodeAccessToken(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	e, err := s.effective(r.Context(), s.Store, r.who.Tenant, r.pod)
	if err != nil {
		return answer{}, invalid(err)
	}
	hosts := httpHosts(e)
	if len(hosts) == 0 {
		return answer{}, invalidf("networking: the pod has no entry with protocol 'http', so there is nothing to share")
	}
	secret := n.Password
	if n.Kind == pods.AccessLink {
		secret = s.Login.NewLinkSecret()
	}
	t := pods.AccessToken{
		ID: strings.ToLower(rand.Text()[:16]), Pod: r.pod.Key, Label: n.Label, Kind: n.Kind,
		CreatedBy: r.who.User, CreatedAt: s.Now().UTC(), MaxUses: n.MaxUses, Hashes: map[string]string{},
	}
	if n.Life > 0 {
		t.ExpiresAt = new(t.CreatedAt.Add(n.Life))
	}
	for net, host := range hosts {
		t.Hashes[net] = s.Login.HashSecret(n.Kind, host, secret)
	}
	if err := s.Store.AddAccessToken(r.Context(), r.pod.UID, t); err != nil {
		return answer{}, gone(err, r.pod.ID)
	}
	a := answer{message: "Access token created successfully. Its secret is not shown again."}
	s.publishShares(r, e, &a)
	made := newAccessToken{accessToken: shownAccessToken(t, pods.AccessTokenUses{}), Secret: secret}
	if n.Kind == pods.AccessLink {
		made.RedemptionURL = s.redemptionURL(e, hosts, secret)
	}
	a.result = made
	return a, nil
}

// listAccessTokens answers with the access tokens of a pod.
func (s *server) listAccessTokens(r *request) (answer, error) {
	e, err := s.effective(r.Context(), s.Store, r.who.Tenant, r.pod)
	if err != nil && pods.ErrorCode(err) != pods.Invalid {
		return answer{}, err
	}
	a := answer{message: "Access tokens retrieved successfully."}
	a.result, err = s.shownAccessTokens(r, e, &a)
	return a, err
}

// deleteAccessToken revokes an access token: whoever redeemed it is out at once.
func (s *server) deleteAccessToken(r *request) (answer, error) {
	if err := s.Store.RevokeAccessToken(r.Context(), r.pod.Key, r.param("token_id")); err != nil {
		return answer{}, err
	}
	e, err := s.effective(r.Context(), s.Store, r.who.Tenant, r.pod)
	if err != nil && pods.ErrorCode(err) != pods.Invalid {
		return answer{}, err
	}
	a := answer{message: "Access token revoked successfully."}
	s.publishShares(r, e, &a)
	a.result, err = s.shownAccessTokens(r, e, &a)
	return a, err
}

// publishShares tells the edges at once. If that fails the reconciler does it, which
// is told in any case.
func (s *server) publishShares(r *request, e pods.Effective, a *answer) {
	s.Wake(r.pod.Key)
	hosts := sharedHosts(e)
	if s.Login == nil || len(hosts) == 0 {
		a.warn("No networking entry of the pod has access_gate set: access tokens count for nothing until one has.")
		return
	}
	if err := s.Login.PublishShares(r.Context(), r.pod.Key, hosts); err != nil {
		s.Logger.Warn("publishing access tokens failed", "tenant", r.pod.Tenant, "pod_id", r.pod.ID, "error", err)
		a.warn("The edges could not be told yet; they are told as soon as possible.")
	}
}

// withdrawShares takes what leads to a deleted pod away, so that nothing of it is
// left to the next one of this name. Where that fails it is done before the routes
// of that one are published.
func (s *server) withdrawShares(r *request) {
	if s.Login == nil {
		return
	}
	e, err := s.effective(r.Context(), s.Store, r.who.Tenant, r.pod)
	if err == nil {
		err = s.Login.WithdrawShares(r.Context(), sharedHosts(e))
	}
	if err != nil {
		s.Logger.Warn("withdrawing access tokens failed", "tenant", r.pod.Tenant, "pod_id", r.pod.ID, "error", err)
	}
}

func (s *server) shownAccessTokens(r *request, e pods.Effective, a *answer) ([]accessToken, error) {
	tokens, err := s.Store.AccessTokens(r.Context(), r.pod.Key)
	if err != nil {
		return nil, err
	}
	var uses map[string]pods.AccessTokenUses
	if s.Login != nil {
		if uses, err = s.Login.ShareUses(r.Context(), sharedHosts(e)); err != nil {
			s.Logger.Warn("reading uses of access tokens failed", "tenant", r.pod.Tenant, "pod_id", r.pod.ID, "error", err)
			a.warn("How often the tokens were used is not known at the moment.")
		}
	}
	shown := make([]accessToken, 0, len(tokens))
	for _, t := range tokens {
		shown = append(shown, shownAccessToken(t, uses[t.ID]))
	}
	return shown, nil
}

func shownAccessToken(t pods.AccessToken, u pods.AccessTokenUses) accessToken {
	shown := accessToken{
		ID: t.ID, PodID: t.Pod.ID, Label: t.Label, Kind: t.Kind, CreatedBy: t.CreatedBy,
		CreatedAt: pods.At(t.CreatedAt), ExpiresAt: pods.AtPtr(t.ExpiresAt), Uses: u.Count, Revoked: t.Revoked,
	}
	if t.MaxUses > 0 {
		shown.MaxUses = &t.MaxUses
	}
	if !u.Last.IsZero() {
		shown.LastUsedAt = pods.At(u.Last)
	}
	return shown
}

// httpHosts returns the hosts of the entries that can be shared, by key.
func httpHosts(e pods.Effective) map[string]string {
	hosts := map[string]string{}
	for key, n := range e.Networking {
		if n.Protocol == pods.NetHTTP {
			hosts[key] = n.URL
		}
	}
	return hosts
}

// sharedHosts returns the hosts of the entries that are shared, by key.
func sharedHosts(e pods.Effective) map[string]string {
	hosts := httpHosts(e)
	maps.DeleteFunc(hosts, func(key, _ string) bool { return !e.Networking[key].AccessGate })
	return hosts
}

// redemptionURL is what people are sent: at the default entry if that is shared, or
// the first that is.
func (s *server) redemptionURL(e pods.Effective, hosts map[string]string, secret string) string {
	if shared := sharedHosts(e); len(shared) > 0 {
		hosts = shared
	}
	host, ok := hosts[routes.DefaultNet]
	if !ok {
		host = hosts[slices.Sorted(maps.Keys(hosts))[0]]
	}
	if s.EdgePort != 0 && s.EdgePort != 443 {
		host = net.JoinHostPort(host, strconv.Itoa(s.EdgePort))
	}
	return "https://" + host + "/.podway/share?t=" + url.QueryEscape(secret)
}
