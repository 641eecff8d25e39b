package api

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// What ensure_jupyter_pod builds on, and how its pods are called.
const (
	jupyterTemplate = "jupyterlab"
	jupyterTag      = "noauth"
	jupyterPrefix   = "tapistempjupyter"
	maxJupyterPods  = 999 // of one user
)

// jupyterFolder is where notebooks are in the pod, which outlives it. Who may
// only use a pod can't write elsewhere: a file in another place may be a program
// that the pod runs.
const jupyterFolder = "/home/jovyan/work"

// jupyterPod is the answer of ensure_jupyter_pod.
type jupyterPod struct {
	PodID      pods.ID                    `json:"pod_id"`
	Status     string                     `json:"status"`
	Networking map[string]pods.Networking `json:"networking"`
	URL        string                     `json:"url"` // https://...
}

// ensureJupyterPod answers with a notebook server of the caller's own: one that
// is there, or a new one. It does not take one that others share with the caller,
// who would type passwords into what somebody else controls.
func (s *server) ensureJupyterPod(r *request) (answer, error) {
	definition := pods.Definition{Template: pods.Set(jupyterTemplate + ":" + jupyterTag)}
	notes, err := s.settle(r.Context(), r.who, &definition, pods.OlderForms{})
	if err != nil {
		return answer{}, err
	}
	for n := 1; n <= maxJupyterPods; n++ {
		there, err := s.jupyterPodOf(r)
		if err != nil {
			return answer{}, err
		}
		if there != nil {
			return s.jupyterAnswer(r, *there, string(there.Requested), "Retrieved existing Jupyter pod successfully.")
		}
		p := s.newPod(r.who, pods.NewPod{ID: s.jupyterID(r.who, n), Requested: pods.On, Definition: definition})
		err = s.create(r, p)
		if pods.ErrorCode(err) == pods.Exists {
			continue // another user's name is alike, or the caller asked twice at once
		}
		if err != nil {
			return answer{}, err
		}
		a, err := s.jupyterAnswer(r, p, string(shownStatus(p)), "Created new Jupyter pod successfully.")
		a.warn(notes...)
		return a, err
	}
	return answer{}, pods.Errorf(pods.Conflict, "All %d names for a Jupyter pod of yours are taken. Delete one of those pods first.", maxJupyterPods)
}

// uploadToJupyter puts a file into the folder of the notebooks.
func (s *server) uploadToJupyter(r *request) (answer, error) {
	if !strings.HasPrefix(r.pod.Definition.Template.Or(""), jupyterTemplate+":") {
		return answer{}, pods.Errorf(pods.Invalid, "Pod %s is no Jupyter pod: its template is not '%s'.", r.pod.ID, jupyterTemplate)
	}
	cluster, ok := s.Cluster.(pods.FileCluster)
	if !ok {
		return answer{}, pods.Errorf(pods.Invalid, "The cluster can't put files into pods.")
	}
	if r.pod.Requested != pods.On {
		return answer{}, pods.Errorf(pods.NotFound, "Pod %s is not running. Start it first.", r.pod.ID)
	}
	f, err := r.readForm("path")
	if err != nil {
		return answer{}, err
	}
	defer f.Close()
	name, err := jupyterPath(f.fields["path"], f.filename)
	if err != nil {
		return answer{}, err
	}
	if err := cluster.CopyTo(r.Context(), r.pod.Key, path.Join(jupyterFolder, name), f.size, f.file); err != nil {
		return answer{}, err
	}
	return answer{
		message: "File uploaded to Jupyter pod successfully.",
		result:  jupyterUpload{Uploaded: name, PodName: r.pod.ID},
	}, nil
}

// jupyterUpload is the answer of upload_to_jupyter.
type jupyterUpload struct {
	Uploaded string  `json:"uploaded"` // path below the folder of the notebooks
	PodName  pods.ID `json:"pod_name"`
}

// jupyterPath returns the path of an uploaded file below the folder of the
// notebooks. A path that ends with a slash, or is empty, is a folder, in which
// the file keeps its name.
func jupyterPath(to, filename string) (string, error) {
	if to == "" || strings.HasSuffix(to, "/") {
		to += filename
	}
	name := strings.TrimPrefix(strings.TrimPrefix(to, jupyterFolder), "/")
	if !filepath.IsLocal(name) || path.Clean(name) == "." || strings.HasSuffix(name, "/") || strings.ContainsRune(name, 0) {
		return "", invalidf("body, path: must name a file below %s, without '..'. Got '%s'", jupyterFolder, shorten(to))
	}
	return path.Clean(name), nil
}

// jupyterPodOf returns the caller's notebook server, nil if there is none.
func (s *server) jupyterPodOf(r *request) (*pods.Pod, error) {
	list, err := s.Store.Pods(r.Context(), pods.PodQuery{Tenant: r.who.Tenant.ID, User: r.who.User})
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if p.Owner == r.who.User && p.Requested == pods.On && strings.HasPrefix(p.Definition.Template.Or(""), jupyterTemplate+":") {
			return &p, nil
		}
	}
	return nil, nil
}

func (s *server) jupyterAnswer(r *request, p pods.Pod, status, message string) (answer, error) {
	e, err := s.effective(r.Context(), s.Store, r.who.Tenant, p)
	if err != nil {
		return answer{}, invalid(err)
	}
	return answer{message: message, result: jupyterPod{
		PodID: p.ID, Status: status, Networking: e.Networking, URL: "https://" + e.Networking[routes.DefaultNet].URL,
	}}, nil
}

// jupyterID returns the n-th id for a user's notebook server: what of the user's
// name can be in an id, cut to what fits into the names made of it.
func (s *server) jupyterID(who pods.Principal, n int) pods.ID {
	name := strings.Map(func(c rune) rune {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return -1
		}
		return c
	}, strings.ToLower(who.User))
	number := fmt.Sprintf("%03d", n)
	taken := pods.ObjectName(s.Settings.Site, pods.Key{Tenant: who.Tenant.ID, ID: jupyterPrefix + pods.ID(number)})
	room := max(pods.MaxObjectName-len(taken), 0)
	return pods.ID(jupyterPrefix + name[:min(len(name), room)] + number)
}
