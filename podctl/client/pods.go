package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// The statuses of a pod that programs wait for.
const (
	Available = "AVAILABLE"
	Complete  = "COMPLETE"
	Failed    = "ERROR"
	Stopped   = "STOPPED"
)

// Pod is a pod as the API shows it.
type Pod struct {
	PodID           string                `json:"pod_id"`
	Image           string                `json:"image"`
	Template        string                `json:"template"`
	Description     string                `json:"description"`
	StatusRequested string                `json:"status_requested"` // ON, OFF or RESTART
	Status          string                `json:"status"`
	StatusContainer ContainerStatus       `json:"status_container"`
	NetworkingLive  bool                  `json:"networking_live"` // its hosts lead to it
	Networking      map[string]Networking `json:"networking"`
	CreationTS      string                `json:"creation_ts"`       // UTC, without zone
	StartInstanceTS string                `json:"start_instance_ts"` // "" if it does not run
	TimeToStopTS    string                `json:"time_to_stop_ts"`   // "" if it will not be stopped
}

// ContainerStatus says why a pod is as it is.
type ContainerStatus struct {
	Message string `json:"message"`
}

// Networking is an entry of a pod's networking.
type Networking struct {
	Protocol string `json:"protocol,omitempty"` // http, tcp, postgres or local_only
	Port     int    `json:"port,omitempty"`     // of the container
	URL      string `json:"url,omitempty"`      // host name, set by the service

	// TapisAuth asks visitors for a login. What is not http is reached by package
	// podctl/tunnel then.
	TapisAuth bool `json:"tapis_auth,omitempty"`
}

// VolumeMount attaches storage to a pod.
type VolumeMount struct {
	Type      string `json:"type"` // tapisvolume, tapissnapshot or pvc
	MountPath string `json:"mount_path"`
	SubPath   string `json:"sub_path,omitempty"`
}

// NewPod is a pod to create. Fields that are zero are left to template and
// service.
type NewPod struct {
	PodID                string                 `json:"pod_id"`
	Image                string                 `json:"image,omitempty"`
	Template             string                 `json:"template,omitempty"`
	Description          string                 `json:"description,omitempty"`
	Command              []string               `json:"command,omitempty"`
	Arguments            []string               `json:"arguments,omitempty"`
	EnvironmentVariables map[string]string      `json:"environment_variables,omitempty"`
	StatusRequested      string                 `json:"status_requested,omitempty"`
	Networking           map[string]Networking  `json:"networking,omitempty"`
	VolumeMounts         map[string]VolumeMount `json:"volume_mounts,omitempty"`
	TimeToStopDefault    int                    `json:"time_to_stop_default,omitempty"` // seconds; -1 never
}

// Credentials are the user and the password made for a pod.
type Credentials struct {
	Username string `json:"user_username"`
	Password string `json:"user_password"`
}

// Logs are what a pod wrote and what happened to it.
type Logs struct {
	Logs       string   `json:"logs"`
	ActionLogs []string `json:"action_logs"` // oldest first
}

// Exec is a request to run commands in a pod, one after another.
type Exec struct {
	Commands         [][]string `json:"commands"`                  // argument vectors
	TotalTimeout     int        `json:"total_timeout,omitempty"`   // seconds; 0: as the service likes
	CommandTimeout   int        `json:"command_timeout,omitempty"` // seconds; 0: as the service likes
	FailOnNonSuccess bool       `json:"fail_on_non_success"`
}

// ExecResult is what came of one command.
type ExecResult struct {
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	ExitCode *int   `json:"exit_code"` // nil if it did not end by itself
	Success  any    `json:"success"`   // true, false, or the sentence of a timeout
}

// ExecReport is what came of an [Exec]: one result for each command that was run.
type ExecReport struct {
	Results []ExecResult `json:"execution_results"`
}

// Pods lists the pods you may read, those with a text in them if search is not
// empty.
func (c *Client) Pods(ctx context.Context, search string) ([]Pod, error) {
	return call[[]Pod](ctx, c, http.MethodGet, PodsPath(search), nil)
}

// PodsPath is the path of a list of pods.
func PodsPath(search string) string {
	if search == "" {
		return "/pods"
	}
	return "/pods?" + url.Values{"search": {search}}.Encode()
}

// Pod returns a pod.
func (c *Client) Pod(ctx context.Context, id string) (Pod, error) {
	return call[Pod](ctx, c, http.MethodGet, PodPath(id, ""), nil)
}

// DerivedPod returns a pod as it is started, with what templates give.
func (c *Client) DerivedPod(ctx context.Context, id string) (Pod, error) {
	return call[Pod](ctx, c, http.MethodGet, PodPath(id, "derived"), nil)
}

// PodPath is the path of a pod, or of something below it.
func PodPath(id, below string) string {
	p := "/pods/" + segment(id)
	if below != "" {
		p += "/" + below
	}
	return p
}

// CreatePod creates a pod.
func (c *Client) CreatePod(ctx context.Context, p NewPod) (Pod, error) {
	return call[Pod](ctx, c, http.MethodPost, "/pods", p)
}

// DeletePod deletes a pod.
func (c *Client) DeletePod(ctx context.Context, id string) error {
	_, err := c.Call(ctx, http.MethodDelete, PodPath(id, ""), nil)
	return err
}

// StartPod starts a stopped pod.
func (c *Client) StartPod(ctx context.Context, id string) (Pod, error) {
	return call[Pod](ctx, c, http.MethodGet, PodPath(id, "start"), nil)
}

// StopPod stops a pod.
func (c *Client) StopPod(ctx context.Context, id string) (Pod, error) {
	return call[Pod](ctx, c, http.MethodGet, PodPath(id, "stop"), nil)
}

// RestartPod stops a pod if need be, and starts it.
func (c *Client) RestartPod(ctx context.Context, id string) (Pod, error) {
	return call[Pod](ctx, c, http.MethodGet, PodPath(id, "restart"), nil)
}

// Credentials returns the user and the password made for a pod.
func (c *Client) Credentials(ctx context.Context, id string) (Credentials, error) {
	return call[Credentials](ctx, c, http.MethodGet, PodPath(id, "credentials"), nil)
}

// Logs returns what a pod wrote, newest 10 MiB, and what happened to it.
func (c *Client) Logs(ctx context.Context, id string) (Logs, error) {
	return call[Logs](ctx, c, http.MethodGet, PodPath(id, "logs"), nil)
}

// FollowLogs copies what a pod writes to w until its container ends. It returns
// the error of ctx if that ends first.
func (c *Client) FollowLogs(ctx context.Context, id string, w io.Writer) error {
	req, err := c.request(ctx, http.MethodGet, PodPath(id, "logs?follow=true"), nil)
	if err != nil {
		return err
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("following the logs: %w", err)
	}
	return nil
}

// Exec runs commands in a pod. Commands that fail are no error of Exec.
func (c *Client) Exec(ctx context.Context, id string, e Exec) (ExecReport, error) {
	return call[ExecReport](ctx, c, http.MethodPost, PodPath(id, "exec"), e)
}
