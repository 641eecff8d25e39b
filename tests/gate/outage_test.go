package gate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// outage is a system whose Redis goes away.
type outage struct {
	t *testing.T
	s *system.System
	u system.User
	c *http.Client
}

// visit is an answer to a visitor.
type visit struct {
	status int
	cookie string // the first that was set, as it is sent back
	body   string
}

// visit opens a path of a pod as somebody with a cookie. With a form, it sends that.
func (o *outage) visit(pod, path, cookie string, form url.Values) (visit, error) {
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	origin := fmt.Sprintf("https://%s:%d", system.Host(pod), o.s.EdgePort)
	r, err := http.NewRequestWithContext(o.t.Context(), method, origin+path, strings.NewReader(body))
	if err != nil {
		return visit{}, err
	}
	r.Header = http.Header{"Accept": {"text/html"}, "Origin": {origin}, "Content-Type": {"application/x-www-form-urlencoded"}}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	res, err := o.c.Do(r)
	if err != nil {
		return visit{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	v := visit{status: res.StatusCode, body: string(b)}
	if set := res.Cookies(); len(set) > 0 {
		v.cookie = set[0].Name + "=" + set[0].Value
	}
	return v, err
}

// want visits and expects a status and a text.
func (o *outage) want(pod, cookie string, status int, text string) {
	o.t.Helper()
	v, err := o.visit(pod, "/headers", cookie, nil)
	if err != nil || v.status != status || !strings.Contains(v.body, text) {
		o.t.Errorf("%s: got %d %.300s, %v, want %d %q", pod, v.status, v.body, err, status, text)
	}
}

// eventually is want, within the time that halves need to find each other.
func (o *outage) eventually(pod, cookie string, status int) {
	o.t.Helper()
	parts.Eventually(o.t, time.Minute, func() error {
		v, err := o.visit(pod, "/headers", cookie, nil)
		if err != nil || v.status != status {
			return fmt.Errorf("%s: got %d %.300s, %w, want %d", pod, v.status, v.body, err, status)
		}
		return nil
	})
}

// session begins a session, as a login does, and returns its cookie.
func (o *outage) session(pod, user string) string {
	o.t.Helper()
	now := time.Now()
	id, err := gateStore(o.t, o.s).CreateSession(o.t.Context(), redisgate.Session{
		Host: system.Host(pod), Pod: pod, Username: user, Tenant: "dev", Created: now, Expires: now.Add(time.Hour),
	}, time.Hour)
	if err != nil {
		o.t.Fatal(err)
	}
	return sessionCookie + id
}

const sessionCookie = "__Host-pods_session="

// heard waits until the edge has heard of everything that happened. What it is told comes
// in order, and the end of a session is the last of it.
func (o *outage) heard() {
	o.t.Helper()
	cookie := o.session("web", "testuser")
	for range 2 { // what was looked up while something was told is not remembered
		o.want("web", cookie, http.StatusOK, "testuser@dev")
	}
	key := redisgate.SessionKey(strings.TrimPrefix(cookie, sessionCookie), system.Host("web"), "web")
	if err := gateStore(o.t, o.s).EndSession(o.t.Context(), key); err != nil {
		o.t.Fatal(err)
	}
	o.eventually("web", cookie, http.StatusFound)
}

// link makes a link to the pod "shared" and returns its id and secret.
func (o *outage) link(label, bound string) (id, secret string) {
	o.t.Helper()
	var made struct{ ID, Secret string }
	o.u.Call(http.MethodPost, "/v3/pods/shared/access-tokens", `{"label":"`+label+`","kind":"link"`+bound+`}`).Into(o.t, &made)
	return made.ID, made.Secret
}

// redeem uses a link, and returns the cookie of who did.
func (o *outage) redeem(secret string, status int, text string) (cookie string) {
	o.t.Helper()
	v, err := o.visit("shared", "/.podway/share", "", url.Values{"t": {secret}})
	if err != nil || v.status != status || !strings.Contains(v.body, text) {
		o.t.Errorf("redeeming: got %d %.600s, %v, want %d %q", v.status, v.body, err, status, text)
	}
	return v.cookie
}

// TestRedisGoesAndComesBackEmpty has the control plane die with the Redis that is
// built into it, and start again. The edge and the pods go on.
func TestRedisGoesAndComesBackEmpty(t *testing.T) {
	s, u := start(t)
	o := &outage{t: t, s: s, u: u, c: newClient(t, s)}
	for _, pod := range []string{"web", "shared"} {
		create(u, pod, "podway/hello", `"protocol":"http","port":5000,`+networking[pod])
	}
	s.WaitLive("web", "shared")
	known, unknown := o.session("web", "testuser"), o.session("web", "testuser")
	o.want("web", known, http.StatusOK, "testuser@dev")
	_, endless := o.link("all", "")
	_, twice := o.link("two", `,"max_uses":2`)
	gone, revoked := o.link("none", "")
	guest := o.redeem(endless, http.StatusSeeOther, "")
	o.redeem(twice, http.StatusSeeOther, "")
	out := o.redeem(revoked, http.StatusSeeOther, "")
	o.want("shared", guest, http.StatusOK, "")
	u.Call(http.MethodDelete, "/v3/pods/shared/access-tokens/"+gone, "")
	o.eventually("shared", out, http.StatusUnauthorized)
	o.heard()
	o.want("web", known, http.StatusOK, "testuser@dev")
	o.want("shared", guest, http.StatusOK, "")

	s.Control.Kill()
	for range 3 {
		o.want("web", known, http.StatusOK, "testuser@dev")
		o.want("shared", guest, http.StatusOK, "")
	}
	o.want("shared", out, http.StatusUnauthorized, "")
	o.want("web", unknown, http.StatusServiceUnavailable, "Login is not available")
	o.want("web", "", http.StatusServiceUnavailable, "Login is not available")
	o.redeem(endless, http.StatusServiceUnavailable, "Login is not available")
	if res, err := o.c.Do(request(t, http.MethodGet, fmt.Sprintf("https://%s:%d/headers", system.Host("web"), s.EdgePort), http.Header{"X-Tapis-Token": {u.Token}})); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a program: got %v, %v, want 200", res, err)
	} else {
		res.Body.Close()
	}

	s.StartControl()
	o.eventually("web", known, http.StatusFound) // to the login: Redis knows nothing of it
	o.eventually("shared", guest, http.StatusOK)
	o.want("shared", out, http.StatusUnauthorized, "")
	o.redeem(revoked, http.StatusUnauthorized, "withdrawn")
	o.redeem(twice, http.StatusUnauthorized, "as often as it may be") // nobody knows any more
	o.want("shared", o.redeem(endless, http.StatusSeeOther, ""), http.StatusOK, "")
	_, once := o.link("one", `,"max_uses":1`)
	o.redeem(once, http.StatusSeeOther, "")
	o.redeem(once, http.StatusUnauthorized, "as often as it may be")
}

// TestSessionsGoWithPermissionsAndPods looks at what is left in Redis.
func TestSessionsGoWithPermissionsAndPods(t *testing.T) {
	s, u := start(t)
	o := &outage{t: t, s: s, u: u, c: newClient(t, s)}
	for _, pod := range []string{"web", "lab"} {
		create(u, pod, "podway/hello", `"protocol":"http","port":5000,`+networking[pod])
	}
	s.WaitLive("web", "lab")
	u.Call(http.MethodPost, "/v3/pods/web/permissions", `{"user":"otheruser","level":"READ"}`)
	owner, other, lab := o.session("web", "testuser"), o.session("web", "otheruser"), o.session("lab", "otheruser")
	o.eventually("web", other, http.StatusOK)
	o.want("web", owner, http.StatusOK, "testuser@dev")
	o.want("lab", lab, http.StatusOK, "otheruser@dev")
	o.wantSessions(3)

	u.Call(http.MethodDelete, "/v3/pods/web/permissions/otheruser", "")
	o.wantSessions(2)
	o.want("web", other, http.StatusForbidden, "You may not open this pod")
	u.Call(http.MethodPost, "/v3/pods/web/permissions", `{"user":"otheruser","level":"READ"}`)
	o.eventually("web", other, http.StatusFound)
	o.want("web", owner, http.StatusOK, "testuser@dev")

	u.Call(http.MethodDelete, "/v3/pods/lab", "")
	o.wantSessions(1)
	o.want("web", owner, http.StatusOK, "testuser@dev")
}

// wantSessions waits until Redis holds so many sessions.
func (o *outage) wantSessions(want int) {
	o.t.Helper()
	client := redisOf(o.t, o.s)
	parts.Eventually(o.t, limit, func() error {
		keys, err := sessionKeys(o.t.Context(), client)
		if err != nil || len(keys) != want {
			return fmt.Errorf("got %d sessions in Redis, %w, want %d", len(keys), err, want)
		}
		return nil
	})
}

func sessionKeys(ctx context.Context, client *redis.Client) (keys []string, err error) {
	for scan := client.Scan(ctx, 0, "*:gate:session:*", 100).Iterator(); ; {
		if !scan.Next(ctx) {
			return keys, scan.Err()
		}
		keys = append(keys, scan.Val())
	}
}
