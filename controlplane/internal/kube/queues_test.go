package kube

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestLoadQueues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queues.json")
	text := `[{"queue_name":"default","node_selector":"none"},
		{"queue_name":"gpu","node_selector":"pool, gpu","tolerations":[{"key":"nvidia.com/gpu","operator":"Exists","effect":"NoSchedule"}],
		 "gpu_resources":[{"activation_resource":"nvidia.com/gpu","max_gpu_request":2}],"namespace":"gpu-{tenant}"}]`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := LoadQueues(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Queue{
		"default": {},
		"gpu": {
			NodeSelector: map[string]string{"pool": "gpu"}, Namespace: "gpu-{tenant}", GPUs: []GPU{{Resource: "nvidia.com/gpu", Max: 2}},
			Tolerations: []corev1.Toleration{{Key: "nvidia.com/gpu", Operator: "Exists", Effect: "NoSchedule"}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := LoadQueues(path + ".missing"); err == nil {
		t.Error("got no error for a file that is not there")
	}
}

func TestQueuesThatCantBe(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no JSON", `queue`, "invalid character"},
		{"an unknown field", `[{"queue_name":"a","node_selektor":"x,y"}]`, "node_selektor"},
		{"a bad name", `[{"queue_name":"A b"}]`, `"A b"`},
		{"a name twice", `[{"queue_name":"a"},{"queue_name":"a"}]`, "no other's"},
		{"a selector without a value", `[{"queue_name":"a","node_selector":"pool"}]`, `"key,value"`},
		{"GPUs without a resource", `[{"queue_name":"a","gpu_resources":[{"max_gpu_request":1}]}]`, "activation_resource"},
		{"no GPUs", `[{"queue_name":"a","gpu_resources":[{"activation_resource":"x"}]}]`, "above 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parseQueues([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}
