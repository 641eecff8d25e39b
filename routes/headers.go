package routes

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of [HeaderRules].
const (
	maxHeaderRules      = 32 // of each kind
	maxHeaderValueBytes = 4 << 10
)

// HeaderRules change the headers of requests to a pod, and of its responses. What
// is removed is removed first. HTTP only.
type HeaderRules struct {
	SetRequest     map[string]string `json:"set_request,omitempty"`
	RemoveRequest  []string          `json:"remove_request,omitempty"`
	SetResponse    map[string]string `json:"set_response,omitempty"`
	RemoveResponse []string          `json:"remove_response,omitempty"`
}

// fixedHeaders belong to the connection, to the length of a body, or to the
// edge's own guards. No rule may touch them.
var fixedHeaders = []string{
	"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive",
	"proxy-connection", "proxy-authenticate", "proxy-authorization", "expect", "forwarded", "x-real-ip",
	"set-cookie", "alt-svc",
}

// fixedPrefixes begin the names of headers that only the edge sets.
var fixedPrefixes = []string{"x-forwarded-", "x-tapis-", "x-pods-", "access-control-", "sec-websocket-"}

func (h *HeaderRules) validate(p Protocol, bad func(field, format string, args ...any)) {
	if p != HTTP {
		bad("headers", onlyHTTP)
	}
	for field, set := range map[string]map[string]string{"headers.set_request": h.SetRequest, "headers.set_response": h.SetResponse} {
		if len(set) > maxHeaderRules {
			bad(field, "%d given, at most %d are allowed", len(set), maxHeaderRules)
		}
		for name, value := range set {
			if err := validateRuleName(name); err != nil {
				bad(field, "%v", err)
			}
			if !isFieldValue(value) {
				bad(field, "the value of %q holds a control character or has over %d bytes", name, maxHeaderValueBytes)
			}
		}
	}
	for field, names := range map[string][]string{"headers.remove_request": h.RemoveRequest, "headers.remove_response": h.RemoveResponse} {
		if len(names) > maxHeaderRules {
			bad(field, "%d given, at most %d are allowed", len(names), maxHeaderRules)
		}
		for _, name := range names {
			if err := validateRuleName(name); err != nil {
				bad(field, "%v", err)
			}
		}
	}
}

func validateRuleName(name string) error {
	if !isToken(name) {
		return fmt.Errorf("%q is not a header name", name)
	}
	// Many servers do not tell an underscore from a dash.
	n := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if slices.Contains(fixedHeaders, n) || slices.ContainsFunc(fixedPrefixes, func(p string) bool { return strings.HasPrefix(n, p) }) {
		return fmt.Errorf("%q is not for rules to change", name)
	}
	return nil
}

func isFieldValue(s string) bool {
	for _, c := range []byte(s) {
		if (c < ' ' && c != '\t') || c == 0x7f {
			return false
		}
	}
	return len(s) <= maxHeaderValueBytes
}
