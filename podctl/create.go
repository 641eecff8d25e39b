package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
)

// create is what the command is told beside the pod itself.
type create struct {
	pod      client.NewPod
	file     string
	env      []string
	networks []string
	volumes  []string
	off      bool
	wait     wait
}

func (c *cli) createCommand() *cobra.Command {
	var n create
	cmd := &cobra.Command{
		Use:   "create POD",
		Short: "Create a pod, and start it",
		Example: "  podctl create web --image podway/hello --wait\n" +
			"  podctl create db --template postgres --env LANG=C.UTF-8 --volume mydata:/backup\n" +
			"  podctl create both --image me/service --network default=http:8080 --network metrics=http:9090\n" +
			"  podctl create -f pod.json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := n.body(c.in, args)
			if err != nil {
				return err
			}
			return c.change(cmd.Context(), http.MethodPost, "/pods", body, n.wait, client.Available)
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.pod.Image, "image", "", "image to run")
	f.StringVar(&n.pod.Template, "template", "", "template to build on: id, id:tag or id:tag@timestamp")
	f.StringVar(&n.pod.Description, "description", "", "for people")
	f.StringArrayVar(&n.pod.Command, "command", nil, "program to run instead of the image's own; again for each of its words")
	f.StringArrayVar(&n.pod.Arguments, "argument", nil, "word after the command; may be given again")
	f.StringArrayVar(&n.env, "env", nil, "NAME=value of the environment; may be given again")
	f.StringArrayVar(&n.networks, "network", nil, "KEY=PROTOCOL:PORT, protocol http, tcp, postgres or local_only; may be given again")
	f.StringArrayVar(&n.volumes, "volume", nil, "VOLUME:/path or VOLUME:/path:folder; may be given again")
	f.IntVar(&n.pod.TimeToStopDefault, "time-to-stop", 0, "seconds from start to stop; -1 never (default: as template and service say)")
	f.BoolVar(&n.off, "off", false, "do not start it")
	f.StringVarP(&n.file, "file", "f", "", "file with the pod as JSON, as the API takes it; - for standard input. Other flags don't count then")
	n.wait.flags(cmd, client.Available)
	cmd.MarkFlagsMutuallyExclusive("off", "wait")
	return cmd
}

// body returns what is sent: a file as it is, or what the flags say.
func (n *create) body(in io.Reader, args []string) (any, error) {
	if n.file != "" {
		return readBody(in, n.file, args)
	}
	if len(args) == 0 {
		return nil, errors.New("say how the pod shall be called: podctl create POD --image IMAGE")
	}
	p := n.pod
	p.PodID = args[0]
	if n.off {
		p.StatusRequested = "OFF"
	}
	var err error
	if p.EnvironmentVariables, err = pairs("env", n.env); err != nil {
		return nil, err
	}
	if p.Networking, err = networking(n.networks); err != nil {
		return nil, err
	}
	p.VolumeMounts, err = mounts(n.volumes)
	return p, err
}

func readBody(in io.Reader, file string, args []string) (any, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(in)
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the pod: %w", err)
	}
	var body map[string]any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil {
		return nil, fmt.Errorf("reading the pod: %s is no JSON object: %w", file, err)
	}
	if len(args) == 1 {
		body["pod_id"] = args[0]
	}
	return body, nil
}

// pairs reads NAME=value.
func pairs(flag string, list []string) (map[string]string, error) {
	m := map[string]string{}
	for _, pair := range list {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--%s %q is not NAME=value", flag, pair)
		}
		m[name] = value
	}
	return m, nil
}

// networking reads KEY=PROTOCOL:PORT.
func networking(list []string) (map[string]client.Networking, error) {
	m := map[string]client.Networking{}
	for _, text := range list {
		key, rest, ok := strings.Cut(text, "=")
		protocol, number, colon := strings.Cut(rest, ":")
		port, err := strconv.Atoi(number)
		if !ok || !colon || err != nil || key == "" {
			return nil, fmt.Errorf("--network %q is not KEY=PROTOCOL:PORT, for example default=http:8080", text)
		}
		m[key] = client.Networking{Protocol: protocol, Port: port}
	}
	return m, nil
}

// mounts reads VOLUME:/path and VOLUME:/path:folder.
func mounts(list []string) (map[string]client.VolumeMount, error) {
	m := map[string]client.VolumeMount{}
	for _, text := range list {
		parts := strings.Split(text, ":")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !strings.HasPrefix(parts[1], "/") {
			return nil, fmt.Errorf("--volume %q is not VOLUME:/path, for example mydata:/data", text)
		}
		mount := client.VolumeMount{Type: "tapisvolume", MountPath: parts[1]}
		if len(parts) == 3 {
			mount.SubPath = parts[2]
		}
		m[parts[0]] = mount
	}
	return m, nil
}
