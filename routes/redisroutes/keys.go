package redisroutes

import (
	"cmp"
	"fmt"
	"regexp"
)

// DefaultNamespace is the namespace where none is set.
const DefaultNamespace = "default"

// keys are the names of a namespace's keys in Redis.
type keys struct {
	version, epoch, routes, log, complete string
	cancel                                string // with an id after it
	connections                           string
}

// namespaceRE admits nothing that could end the hash tag early.
var namespaceRE = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func newKeys(namespace string) (keys, error) {
	namespace = cmp.Or(namespace, DefaultNamespace)
	if !namespaceRE.MatchString(namespace) {
		return keys{}, fmt.Errorf("namespace %q: 1 to 64 letters, digits, dots, dashes and underscores are allowed", namespace)
	}
	key := func(name string) string { return "podway:{" + namespace + "}:" + name }
	return keys{
		version:  key("version"),
		epoch:    key("epoch"),
		routes:   key("routes"),
		log:      key("log"),
		complete: key("complete"),
		cancel:   key("cancel:"),

		connections: key("connections"),
	}, nil
}
