package podway

import (
	"cmp"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisroutes"
)

// RedisOptions returns where the app's Redis is and the namespace of its keys, for
// modules that keep other things there than routes.
func (a *App) RedisOptions() (opts *redis.UniversalOptions, namespace string, err error) {
	opts, err = redisroutes.ParseURL(caddy.NewReplacer().ReplaceAll(cmp.Or(a.Redis, DefaultRedis), ""))
	if err != nil {
		return nil, "", err
	}
	return opts, cmp.Or(a.Namespace, redisroutes.DefaultNamespace), nil
}
