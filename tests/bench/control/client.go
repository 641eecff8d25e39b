package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// image of the pods. The fake nodes run it without looking.
const image = "podway/hello"

// client calls the API as one of the users of development mode.
type client struct {
	base  string
	token string // "": nobody
	http  *http.Client
}

func newClient(base string) client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = inFlight
	return client{base: base, http: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// call sends a request and decodes the result of the answer. Either body may be
// nil. An answer that is no success is an error with its message.
func (c client) call(ctx context.Context, method, path string, body, result any) error {
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return fmt.Errorf("encoding a body: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, &sent)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("X-Tapis-Token", c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("calling the API: %w", err)
	}
	defer resp.Body.Close()
	var envelope struct {
		Message json.RawMessage `json:"message"`
		Result  json.RawMessage `json:"result"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&envelope); err != nil {
		return fmt.Errorf("%s %s: decoding the answer, %s: %w", method, path, resp.Status, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, envelope.Message)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(envelope.Result, result); err != nil {
		return fmt.Errorf("%s %s: decoding the result: %w", method, path, err)
	}
	return nil
}

// login logs in the user who owns the pods.
func (c *client) login(ctx context.Context) error {
	var result struct {
		AccessToken struct {
			AccessToken string `json:"access_token"`
		} `json:"access_token"`
	}
	body := map[string]string{"username": "testuser", "password": "testuser", "grant_type": "password"}
	if err := c.call(ctx, http.MethodPost, "/v3/oauth2/tokens", body, &result); err != nil {
		return err
	}
	c.token = result.AccessToken.AccessToken
	return nil
}

// create creates a pod with an environment, which becomes a Secret.
func (c client) create(ctx context.Context, id string) error {
	body := map[string]any{"pod_id": id, "image": image, "environment_variables": map[string]string{"GREETING": "hello " + id}}
	return c.call(ctx, http.MethodPost, "/v3/pods", body, nil)
}

func (c client) delete(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v3/pods/"+id, nil, nil)
}

// pod is an entry of the list of pods.
type pod struct {
	ID              string    `json:"pod_id"`
	Status          string    `json:"status"`
	StartInstanceTS timestamp `json:"start_instance_ts"` // when it became AVAILABLE
	StatusContainer struct {
		Message string `json:"message"`
	} `json:"status_container"`
}

// page lists pods by id, at most limit of them from the offset on.
func (c client) page(ctx context.Context, offset, limit int) (list []pod, err error) {
	q := url.Values{"offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(limit)}}
	err = c.call(ctx, http.MethodGet, "/v3/pods?"+q.Encode(), nil, &list)
	return list, err
}

// timestamp is a time of the API: UTC with microseconds, without a zone. Null is
// the zero time.
type timestamp struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *timestamp) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil || s == "" {
		return err
	}
	var err error
	t.Time, err = time.Parse("2006-01-02T15:04:05.000000", s)
	return err
}
