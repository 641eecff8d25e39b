package tapis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// The limits of an outbound call.
const (
	connectTimeout   = 3 * time.Second
	callTimeout      = 10 * time.Second // all of it, body included
	maxResponseBytes = 1 << 20
	maxRedirects     = 3
)

// client calls Tapis services. Its limits hold with any transport.
type client struct{ http *http.Client }

// newClient returns a client that follows redirects only to where it was sent
// at first: it carries our token in a header that net/http does not know to
// drop on the way to another host.
func newClient(t http.RoundTripper) *client {
	return &client{&http.Client{
		Transport: t,
		Timeout:   callTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errors.New("too many redirects")
			}
			if first := via[0].URL; r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
				return errors.New("redirected to another host")
			}
			return nil
		},
	}}
}

// newTransport returns the transport for calls over the network.
func newTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	t.TLSHandshakeTimeout = connectTimeout
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

// statusError is the failure of a call that was answered.
type statusError int

// Error names the status.
func (e statusError) Error() string {
	return fmt.Sprintf("status %d %s", int(e), http.StatusText(int(e)))
}

// takenError is a statusError of which the answer said that what was to be made is
// there already.
type takenError struct{ statusError }

// Unwrap returns the status.
func (e takenError) Unwrap() error { return e.statusError }

// taken is in the message of the authenticator for a client id that is taken.
const taken = "This change would violate uniqueness constraints"

// get reads the result of a GET request into result.
func (c *client) get(ctx context.Context, url string, result any, edit ...func(*http.Request)) error {
	return c.call(ctx, http.MethodGet, url, nil, result, edit...)
}

// post sends body as JSON and reads the result of the answer into result.
func (c *client) post(ctx context.Context, url string, body, result any, edit ...func(*http.Request)) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding request: %w", err)
	}
	return c.call(ctx, http.MethodPost, url, b, result, edit...)
}

// put is post with another method.
func (c *client) put(ctx context.Context, url string, body, result any, edit ...func(*http.Request)) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding request: %w", err)
	}
	return c.call(ctx, http.MethodPut, url, b, result, edit...)
}

// call makes a request, edited by edit, and decodes the result out of the
// envelope that all Tapis services share. Its errors hold no part of the
// answer, which could be a secret.
func (c *client) call(ctx context.Context, method, url string, body []byte, result any, edit ...func(*http.Request)) error {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making request: %w", err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	for _, f := range edit {
		f(r)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("calling Tapis: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading answer of %s: %w", url, err)
	case len(answer) > maxResponseBytes:
		return fmt.Errorf("reading answer of %s: more than %d bytes", url, maxResponseBytes)
	case resp.StatusCode == http.StatusBadRequest && bytes.Contains(answer, []byte(taken)):
		return fmt.Errorf("calling %s: %w", url, takenError{statusError(resp.StatusCode)})
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		return fmt.Errorf("calling %s: %w", url, statusError(resp.StatusCode))
	}
	var envelope struct {
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		return fmt.Errorf("decoding answer of %s: %w", url, err)
	}
	// An absent result decodes into nothing without an error, and nothing could
	// pass for an empty list.
	if len(envelope.Result) == 0 {
		return fmt.Errorf("decoding answer of %s: it has no result", url)
	}
	if err := json.Unmarshal(envelope.Result, result); err != nil {
		return fmt.Errorf("decoding result of %s: %w", url, err)
	}
	return nil
}
