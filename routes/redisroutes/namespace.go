package redisroutes

// Key returns the full name of a key of a namespace, for the packages that keep
// other things than routes beside them. All keys of a namespace share a hash tag,
// so that one script may touch several in a Redis Cluster.
//
//	Key("", "gate:tenants")  podway:{default}:gate:tenants
func Key(namespace, name string) (string, error) {
	if _, err := newKeys(namespace); err != nil {
		return "", err
	}
	if namespace == "" {
		namespace = DefaultNamespace
	}
	return "podway:{" + namespace + "}:" + name, nil
}
