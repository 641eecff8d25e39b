package client

import (
	"context"
	"fmt"
	"net/http"
)

// Domain is a custom domain of a pod.
type Domain struct {
	Domain      string `json:"custom_domain"`
	Network     string `json:"network"`      // networking key it leads to
	State       string `json:"state"`        // DomainPending, DomainVerified or DomainFailed
	RecordName  string `json:"record_name"`  // of the TXT record that proves it
	RecordValue string `json:"record_value"` // of that record
	Target      string `json:"target"`       // what the domain has to be a CNAME of
	LastChecked string `json:"last_checked"` // UTC; "" if it was not checked yet
	Reason      string `json:"reason"`       // why it is not verified; "" if it is
}

// The states of a custom domain.
const (
	DomainPending  = "pending"
	DomainVerified = "verified"
	DomainFailed   = "failed"
)

// Domains returns the custom domains of a pod.
func (c *Client) Domains(ctx context.Context, id string) ([]Domain, error) {
	return call[[]Domain](ctx, c, http.MethodGet, PodPath(id, "domains"), nil)
}

// CheckDomains has the custom domains of a pod checked. It does not wait for what
// comes of it.
func (c *Client) CheckDomains(ctx context.Context, id string) ([]Domain, error) {
	return call[[]Domain](ctx, c, http.MethodPost, PodPath(id, "domains/check"), nil)
}

// SetDomain gives an entry of a pod's networking a custom domain, or takes it away
// if domain is empty. Everything else stays as the pod's owner has set it.
func (c *Client) SetDomain(ctx context.Context, id, network, domain string) error {
	p, err := c.DerivedPod(ctx, id)
	if err != nil {
		return err
	}
	if _, ok := p.Networking[network]; !ok {
		return fmt.Errorf("pod %s has no networking entry %q", id, network)
	}
	entries, err := c.ownNetworking(ctx, id)
	if err != nil {
		return err
	}
	entry := entries[network]
	if entry == nil {
		entry = map[string]any{}
	}
	if entry["custom_domain"] = domain; domain == "" {
		delete(entry, "custom_domain")
	}
	entries[network] = entry
	_, err = c.Call(ctx, http.MethodPut, PodPath(id, ""), map[string]any{"networking": entries})
	return err
}

// ownNetworking returns the networking that a pod's owner has set: not what is
// shown, so that a template's part remains the template's.
func (c *Client) ownNetworking(ctx context.Context, id string) (map[string]map[string]any, error) {
	type overrides struct {
		Overrides struct {
			Networking map[string]map[string]any `json:"networking"`
		} `json:"overrides"`
	}
	own, err := call[overrides](ctx, c, http.MethodGet, PodPath(id, "overrides"), nil)
	entries := own.Overrides.Networking
	if entries == nil {
		entries = map[string]map[string]any{}
	}
	return entries, err
}
