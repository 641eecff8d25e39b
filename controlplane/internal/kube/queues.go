package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// queueFile is a queue as administrators write it.
type queueFile struct {
	Name         string              `json:"queue_name"`
	NodeSelector string              `json:"node_selector"` // "key,value", "none" or ""
	Tolerations  []corev1.Toleration `json:"tolerations"`
	GPUs         []gpuFile           `json:"gpu_resources"`
	Namespace    string              `json:"namespace"`
}

type gpuFile struct {
	Resource string `json:"activation_resource"`
	Max      int    `json:"max_gpu_request"`
}

var queueName = regexp.MustCompile(`^[a-z0-9]+$`)

// LoadQueues reads the compute queues from a JSON file, a list of
//
//	{"queue_name": "gpu", "node_selector": "pool,gpu",
//	 "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
//	 "gpu_resources": [{"activation_resource": "nvidia.com/gpu", "max_gpu_request": 2}]}
//
// A queue may also have a "namespace". The error names every problem.
func LoadQueues(path string) (map[string]Queue, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading compute queues: %w", err)
	}
	queues, err := parseQueues(text)
	if err != nil {
		return nil, fmt.Errorf("reading compute queues from %s: %w", path, err)
	}
	return queues, nil
}

func parseQueues(text []byte) (map[string]Queue, error) {
	var list []queueFile
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		return nil, err
	}
	var errs []error
	queues := make(map[string]Queue, len(list))
	for _, q := range list {
		if _, twice := queues[q.Name]; twice || !queueName.MatchString(q.Name) {
			errs = append(errs, fmt.Errorf("queue_name %q must be lowercase letters and digits, and no other's", q.Name))
		}
		selector, err := q.selector()
		errs = append(errs, err)
		queue := Queue{NodeSelector: selector, Tolerations: q.Tolerations, Namespace: q.Namespace}
		for _, g := range q.GPUs {
			if g.Resource == "" || g.Max < 1 {
				errs = append(errs, fmt.Errorf("queue %s: gpu_resources need an activation_resource and a max_gpu_request above 0", q.Name))
			}
			queue.GPUs = append(queue.GPUs, GPU(g))
		}
		queues[q.Name] = queue
	}
	return queues, errors.Join(errs...)
}

func (q queueFile) selector() (map[string]string, error) {
	if q.NodeSelector == "" || q.NodeSelector == "none" {
		return nil, nil
	}
	key, value, ok := strings.Cut(q.NodeSelector, ",")
	if !ok || key == "" {
		return nil, fmt.Errorf(`queue %s: node_selector %q is not "key,value" or "none"`, q.Name, q.NodeSelector)
	}
	return map[string]string{strings.TrimSpace(key): strings.TrimSpace(value)}, nil
}
