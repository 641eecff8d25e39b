package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// podUpload is the answer of upload_to_pod.
type podUpload struct {
	Uploaded string  `json:"uploaded"` // the path, as it was given
	PodName  pods.ID `json:"pod_name"`
}

// uploadToPod puts a file into the pod's container.
func (s *server) uploadToPod(r *request) (answer, error) {
	cluster, err := s.fileCluster(r)
	if err != nil {
		return answer{}, err
	}
	f, err := r.readForm("dest_path")
	if err != nil {
		return answer{}, err
	}
	defer f.Close()
	dest := f.fields["dest_path"]
	if strings.TrimSpace(dest) == "" {
		return answer{}, invalidf("body, dest_path: dest_path must not be empty.")
	}
	target, err := containerPath("body, dest_path", dest)
	if err != nil {
		return answer{}, err
	}
	if err := cluster.CopyTo(r.Context(), r.pod.Key, target, f.size, f.file); err != nil {
		return answer{}, err
	}
	s.auditFiles(r, "uploaded a file to")
	return answer{
		message: "File uploaded to pod successfully.",
		result:  podUpload{Uploaded: dest, PodName: r.pod.ID},
	}, nil
}

// listPodFiles answers with what is in a folder of the pod's container.
func (s *server) listPodFiles(r *request) (answer, error) {
	cluster, err := s.fileCluster(r)
	if err != nil {
		return answer{}, err
	}
	folder, err := r.containerPath()
	if err != nil {
		return answer{}, err
	}
	files, err := cluster.ListFiles(r.Context(), r.pod.Key, folder)
	if err != nil {
		return answer{}, err
	}
	views := viewsOf(files, func(f pods.ContainerFile) pods.FileView {
		// A file is listed as itself, so its name is the end of the path already.
		at := path.Join(folder, f.Name)
		if len(files) == 1 && !f.Mode.IsDir() && path.Base(folder) == f.Name {
			at = folder
		}
		return pods.NewFileView(pods.FileInfo{Path: at, Mode: f.Mode, Size: f.Size, ModifiedAt: f.ModifiedAt})
	})
	return answer{message: "Pod file listing retrieved successfully.", result: views}, nil
}

// downloadFromPod answers with a file of the pod's container.
func (s *server) downloadFromPod(r *request) (answer, error) {
	cluster, err := s.fileCluster(r)
	if err != nil {
		return answer{}, err
	}
	name, err := r.containerPath()
	if err != nil {
		return answer{}, err
	}
	info, content, err := cluster.CopyFrom(r.Context(), r.pod.Key, name)
	if err != nil {
		return answer{}, err
	}
	s.auditFiles(r, "downloaded a file from")
	return answer{stream: func(w http.ResponseWriter) error {
		defer content.Close()
		attach(w, path.Base(name), "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
		_, err := io.CopyN(steadyWriter{w, http.NewResponseController(w)}, content, info.Size)
		return cutShort(r, err)
	}}, nil
}

// fileCluster returns what copies files of the pod. NotFound if the pod does not
// run.
func (s *server) fileCluster(r *request) (pods.FileCluster, error) {
	cluster, ok := s.Cluster.(pods.FileCluster)
	if !ok {
		return nil, pods.Errorf(pods.Invalid, "The cluster can't copy files of pods.")
	}
	if r.pod.Requested != pods.On {
		return nil, pods.Errorf(pods.NotFound, "Pod %s is not running: its status_requested is %s. Start it first.", r.pod.ID, r.pod.Requested)
	}
	if err := s.runs(r.Context(), r.pod); err != nil {
		return nil, err
	}
	return cluster, nil
}

// containerPath returns the path in the container that a request is about: the
// end of its own path, seen from the container's root, or the parameter path.
func (r *request) containerPath() (string, error) {
	inPath, q := r.param("path"), r.URL.Query()
	switch {
	case strings.Trim(inPath, "/") != "" && q.Has("path"):
		return "", invalidf("query, path: give the path once, in the URL's path or as the parameter path.")
	case q.Has("path") && !strings.HasPrefix(q.Get("path"), "/"):
		return "", invalidf("query, path: must be absolute, or given in the URL's path.")
	case q.Has("path"):
		return containerPath("query, path", q.Get("path"))
	default:
		return containerPath("path, path", "/"+inPath)
	}
}

// maxContainerPath bounds a path in a container, in bytes.
const maxContainerPath = 4096

// containerPath makes a path in a container absolute and clean. The pod's owner
// may reach everything there, so ".." is only cleaned away.
func containerPath(loc, p string) (string, error) {
	if len(p) > maxContainerPath || strings.ContainsRune(p, 0) {
		return "", invalidf("%s: must be a path of at most %d bytes without NUL.", loc, maxContainerPath)
	}
	return path.Join("/", p), nil
}

// auditFiles notes in the pod's action log that a user has copied a file. Its name
// is not told: it may be as secret as an argument of a command.
func (s *server) auditFiles(r *request, what string) {
	// The file was copied, whether the client still waits or not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.Timeout)
	defer cancel()
	r = r.during(ctx)
	_, err := s.change(r, func(*pods.Pod) (pods.Event, error) {
		return s.event("'%s' %s the pod.", r.who.User, what), nil
	})
	if err != nil {
		traceOf(r.Request).failed(fmt.Errorf("recording a copied file: %w", err))
	}
}
