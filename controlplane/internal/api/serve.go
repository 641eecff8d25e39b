package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// prefix is the public form of the API's paths; the bare form is tolerated.
const prefix = "/v3"

// request is one call of an operation that the caller is allowed to make.
type request struct {
	*http.Request

	op        *operation
	who       pods.Principal // zero for open operations
	adminMode bool           // an admin asked for the view of the whole tenant
	pod       pods.Pod       // what the path names, for operations of kindPod
	template  pods.Template  // what the path names, for operations of kindTemplate
	volume    pods.Volume    // what the path names, for operations of kindVolume and kindSnapshot
	secret    pods.Secret    // what the path names, for operations of kindSecret
	body      []byte         // for operations that take one
}

// key returns the key of a pod in the caller's tenant.
func (r *request) key(id pods.ID) pods.Key { return pods.Key{Tenant: r.who.Tenant.ID, ID: id} }

// podID returns the id of the pod that the path names, by itself or with a
// networking key ("web-metrics"). Ids hold no '-'.
func (r *request) podID() pods.ID {
	if id := r.param("pod_id"); id != "" {
		return pods.ID(id)
	}
	id, _, _ := strings.Cut(r.param("pod_id_net"), "-")
	return pods.ID(id)
}

// param returns a path parameter, decoded. The router splits the encoded path if
// the two differ, so that a value may hold "%2F".
func (r *request) param(name string) string {
	if r.op.rest && strings.HasSuffix(r.op.pattern, "{"+name+"}") {
		name = "*"
	}
	v := chi.URLParam(r.Request, name)
	if r.URL.RawPath == "" {
		return v
	}
	decoded, err := url.PathUnescape(v)
	if err != nil {
		return v
	}
	return decoded
}

// queryBool reads a boolean of the query string. Absent means false.
func (r *request) queryBool(name string) (bool, error) { return r.queryBoolOr(name, false) }

// queryBoolOr reads a boolean of the query string that has a default.
func (r *request) queryBoolOr(name string, def bool) (bool, error) {
	q := r.URL.Query()
	if !q.Has(name) {
		return def, nil
	}
	v, ok := parseBool(q.Get(name))
	if !ok {
		return false, invalidf("query, %s: value could not be parsed to a boolean", name)
	}
	return v, nil
}

// parseBool reads a boolean in the spellings of Python clients.
func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "on", "t", "y":
		return true, true
	case "false", "0", "no", "off", "f", "n":
		return false, true
	default:
		return false, false
	}
}

// queryInt reads a whole number of the query string, from low to high. Absent
// means 0.
func (r *request) queryInt(name string, low, high int) (int, error) {
	q := r.URL.Query()
	if !q.Has(name) {
		return 0, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil {
		return 0, invalidf("query, %s: value is not a valid integer", name)
	}
	if n < low || n > high {
		return 0, invalidf("query, %s: %d is not between %d and %d", name, n, low, high)
	}
	return n, nil
}

// during returns the request with another context.
func (r *request) during(ctx context.Context) *request {
	c := *r
	c.Request = r.WithContext(ctx)
	return &c
}

// router mounts the operations under both forms of their paths.
func (s *server) router(ops []operation) http.Handler {
	mux := chi.NewRouter()
	for i := range ops {
		op := &ops[i]
		for _, p := range op.routes() {
			mux.Method(op.method, p, s.serve(op))
			mux.Method(op.method, prefix+p, s.serve(op))
		}
	}
	mux.NotFound(s.notFound)
	mux.MethodNotAllowed(s.methodNotAllowed(mux))
	return mux
}

// notFound answers unknown paths.
func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, &httpError{status: http.StatusNotFound, message: "Could not match request to an API route."})
}

// methodNotAllowed answers known paths with an unknown method.
func (s *server) methodNotAllowed(mux *chi.Mux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, m := range []string{http.MethodDelete, http.MethodGet, http.MethodPost, http.MethodPut} {
			if mux.Match(chi.NewRouteContext(), m, r.URL.EscapedPath()) {
				allowed = append(allowed, m)
			}
		}
		allow := strings.Join(allowed, ", ")
		s.fail(w, r, &httpError{
			status:  http.StatusMethodNotAllowed,
			message: fmt.Sprintf("Could not match request to an API route: this path takes %s.", allow),
			header:  http.Header{"Allow": {allow}},
		})
	}
}

// serve turns an operation into a handler: it decides whether the caller may
// make the call, makes it and writes what comes of it.
func (s *server) serve(op *operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		traceOf(r).op = op
		a, err := s.call(w, r, op)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		traceOf(r).failed(s.writeAnswer(w, a))
	}
}

// call is the way of every request to its handler.
func (s *server) call(w http.ResponseWriter, r *http.Request, op *operation) (answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
	defer cancel()
	req, err := s.admit(r.WithContext(ctx), op)
	if err != nil {
		return answer{}, err
	}
	if op.body {
		if req.body, err = readJSON(w, r); err != nil {
			return answer{}, err
		}
	}
	if op.upload {
		r.Body = formBody(w, r, cmp.Or(op.uploadMax, maxUpload))
	}
	if op.ownTimeout {
		req.Request = r
		// Not every ResponseWriter has deadlines; those of net/http do.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	}
	a, err := op.handle(s, req)
	if err == nil {
		s.showVerified(req, &a)
		s.showCertificates(&a)
	}
	return a, err
}

// fail answers with an error and notes it for the log.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	traceOf(r).failed(err)
	traceOf(r).failed(s.writeError(w, err))
}

// cleanSlashes redirects paths with repeated slashes to the path without. The
// status keeps method and body.
func cleanSlashes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if !strings.Contains(path, "//") {
			next.ServeHTTP(w, r)
			return
		}
		segments := slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" })
		target := "/" + strings.Join(segments, "/")
		if strings.HasSuffix(path, "/") && target != "/" {
			target += "/"
		}
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}
