// Package client calls the API of a Podway, or of any other Tapis Pods service.
//
//	c := client.New("https://tacc.tapis.io", token)
//	pod, err := c.Pod(ctx, "web")
//	if client.StatusOf(err) == http.StatusNotFound {
//		pod, err = c.CreatePod(ctx, client.NewPod{PodID: "web", Image: "podway/hello"})
//	}
//
// Types hold the fields that programs ask for most; what else an answer has is
// in [Answer.Result]. A Client is safe for concurrent use.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	tokenHeader     = "X-Tapis-Token" //nolint:gosec // the name of a header, not a token
	adminHeader     = "X-Pods-Admin"
	requestIDHeader = "X-Request-ID"
	maxAnswer       = 64 << 20 // bytes of an answer that is no stream
)

// Client calls one Tapis. Make one with [New].
type Client struct {
	// Admin asks for the view of the whole tenant; it needs the role for it.
	Admin bool

	// HTTP makes the calls. Default: a client without a limit of time, because
	// logs and files take as long as they take; bound calls by their context.
	HTTP *http.Client

	base, token string
}

// New returns a client of the Tapis at a base URL, such as
// "https://tacc.tapis.io". The token may be empty for [Client.Login].
func New(baseURL, token string) *Client {
	return &Client{base: strings.TrimRight(baseURL, "/"), token: token, HTTP: &http.Client{}}
}

// Answer is what the API says.
type Answer struct {
	Message  string
	Metadata map[string]any
	Result   json.RawMessage

	// Status is "success", or "error" for an update that changed nothing.
	Status string
}

// Error is an answer that tells of a failure.
type Error struct {
	Status     int           // of HTTP
	Messages   []string      // for people; one per problem
	RequestID  string        // under which the service's log speaks of it; "" if it gave none
	RetryAfter time.Duration // when to try again; 0 if the service did not say
}

// Error joins the messages in lines.
func (e *Error) Error() string {
	if len(e.Messages) == 0 {
		return fmt.Sprintf("the service answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return strings.Join(e.Messages, "\n")
}

// StatusOf returns the HTTP status of an [Error], 0 for any other error.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// Call calls the API: a path below /v3, and a body that is sent as JSON unless it
// is nil. The error is an [*Error] if the service answered with one.
func (c *Client) Call(ctx context.Context, method, path string, body any) (Answer, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Answer{}, fmt.Errorf("encoding the request: %w", err)
		}
		content = bytes.NewReader(b)
	}
	req, err := c.request(ctx, method, path, content)
	if err != nil {
		return Answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.send(req)
	if err != nil {
		return Answer{}, err
	}
	return readAnswer(resp)
}

// call is Call with a result of some type.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var result T
	a, err := c.Call(ctx, method, path, body)
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal(a.Result, &result); err != nil {
		return result, fmt.Errorf("reading the answer to %s %s: %w", method, path, err)
	}
	return result, nil
}

// request makes a request to a path below /v3, which may have a query.
func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v3"+path, body)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	if c.token != "" {
		req.Header.Set(tokenHeader, c.token)
	}
	if c.Admin {
		req.Header.Set(adminHeader, "true")
	}
	return req, nil
}

// send returns the answer if it is a good one. The caller closes its body.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", c.base, withoutURL(err))
	}
	if resp.StatusCode >= http.StatusBadRequest {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

// withoutURL drops what http.Client adds to an error: it repeats the address.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// wireAnswer is the envelope.
type wireAnswer struct {
	Message  json.RawMessage `json:"message"`
	Metadata map[string]any  `json:"metadata"`
	Result   json.RawMessage `json:"result"`
	Status   string          `json:"status"`
}

// messages returns the message, which is one or a list.
func (w wireAnswer) messages() []string {
	var one string
	if json.Unmarshal(w.Message, &one) == nil && one != "" {
		return []string{one}
	}
	var many []string
	_ = json.Unmarshal(w.Message, &many)
	return many
}

func readAnswer(resp *http.Response) (Answer, error) {
	defer resp.Body.Close()
	var w wireAnswer
	if err := decode(resp, &w); err != nil {
		return Answer{}, fmt.Errorf("%s answered what is no answer of the Pods API (%w); is the address right?", resp.Request.URL.Host, err)
	}
	return Answer{Message: strings.Join(w.messages(), "\n"), Metadata: w.Metadata, Result: w.Result, Status: w.Status}, nil
}

func decode(resp *http.Response, w *wireAnswer) error {
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return fmt.Errorf("%s, content type %q", resp.Status, resp.Header.Get("Content-Type"))
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(w)
}

func readError(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, RequestID: resp.Header.Get(requestIDHeader)}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	var w wireAnswer
	if decode(resp, &w) == nil {
		e.Messages = w.messages()
	}
	return e
}

// segment escapes a part of a path.
func segment(s string) string { return url.PathEscape(s) }

// segments escapes a path whose parts are separated by slashes.
func segments(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, p := range parts {
		parts[i] = segment(p)
	}
	return strings.Join(parts, "/")
}
