package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/podctl/diagnose"
	"github.com/tapis-project/podway/routes/redisroutes"
)

// checkRedis looks at Redis and, if it answers, at what lies there: the routes and
// what edges say about themselves.
func checkRedis(ctx context.Context, o Options) []diagnose.Finding {
	opts, err := redisroutes.ParseURL(o.Config.RedisURL)
	if err != nil {
		return []diagnose.Finding{fault("redis", FaultConfig, err.Error(), "correct PODWAY_REDIS_URL; docs/routes.md lists the forms")}
	}
	var all []diagnose.Finding
	if err := redisroutes.CheckExposed(opts); err != nil {
		all = append(all, fault("redis", FaultRedisExposed, err.Error(), "whoever writes there decides where traffic goes: the control plane and the edges refuse it"))
	}
	opts.ContextTimeoutEnabled, opts.MaxRetries, opts.DialTimeout = true, 1, checkTimeout
	client := redis.NewUniversalClient(opts)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*checkTimeout)
	defer cancel()
	if f := ping(ctx, client); f.Fault != "" {
		return append(all, f)
	}
	all = append(all, writes(ctx, opts, o.Config.Namespace), eviction(ctx, client))
	fleet, err := redisroutes.NewFleet(client, o.Config.Namespace)
	if err != nil {
		return append(all, fault("redis", FaultConfig, err.Error(), "correct PODWAY_NAMESPACE"))
	}
	all = append(all, clock(ctx, fleet, o.Now))
	return slices.DeleteFunc(append(all, checkEdges(ctx, fleet, o.Settle)...), func(f diagnose.Finding) bool { return f == (diagnose.Finding{}) })
}

// ping tells a Redis that is away from one that refuses the login.
func ping(ctx context.Context, client redis.UniversalClient) diagnose.Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := client.Ping(ctx).Err()
	switch {
	case err == nil:
		return diagnose.OK("redis", "", "answers")
	case refused(err, "WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH"):
		return fault("redis", FaultRedisLogin, err.Error(), "correct user and password in PODWAY_REDIS_URL, or the user in Redis (ACL SETUSER, docs/routes.md)")
	}
	return fault("redis", FaultRedisUnreachable, err.Error(), "start Redis, or correct PODWAY_REDIS_URL; edges go on serving what they have, but learn of no change")
}

// refused reports whether Redis answered with an error of one of some kinds.
func refused(err error, kinds ...string) bool {
	return slices.ContainsFunc(kinds, func(k string) bool { return strings.Contains(err.Error(), k) })
}

// writes finds out whether routes could be published, without publishing any: Redis
// checks each command of a transaction when it is queued, and this one is never
// executed.
func writes(ctx context.Context, opts *redis.UniversalOptions, namespace string) diagnose.Finding {
	if opts.IsClusterMode { // transactions are sent whole there
		return diagnose.Finding{}
	}
	own := *opts
	own.PoolSize = 1
	client := redis.NewUniversalClient(&own)
	defer func() { _ = client.Close() }() // and with it the transaction
	single, ok := client.(*redis.Client)
	if !ok {
		return diagnose.Finding{}
	}
	conn := single.Conn()
	defer conn.Close()
	key, _ := redisroutes.Key(namespace, "routes") // the namespace was checked by config
	for _, cmd := range [][]any{{"multi"}, {"hset", key, "a", "b"}, {"discard"}} {
		err := conn.Do(ctx, cmd...).Err()
		switch {
		case err == nil, cmd[0] == "discard":
		case refused(err, "NOPERM"):
			return fault("redis rights", FaultRedisRights, err.Error(), "give the user the rights of docs/routes.md (ACL SETUSER)")
		case refused(err, "READONLY"):
			return fault("redis rights", FaultRedisReadOnly, err.Error(), "name the master in PODWAY_REDIS_URL, or Sentinel with ?master=NAME: the control plane can't publish into a replica")
		case refused(err, "OOM", "MISCONF"):
			return fault("redis rights", FaultRedisFull, err.Error(), "give Redis more memory (maxmemory) or disk: it takes no changes until then")
		default:
			return fault("redis rights", FaultRedisUnreachable, err.Error(), "look at the log of Redis")
		}
	}
	return diagnose.OK("redis rights", "", "routes may be published")
}

// eviction finds a Redis that throws keys away when its memory is full. Without the
// right to ask it finds nothing.
func eviction(ctx context.Context, client redis.UniversalClient) diagnose.Finding {
	settings, err := client.ConfigGet(ctx, "maxmemory*").Result()
	if err != nil {
		return diagnose.Finding{}
	}
	if policy := settings["maxmemory-policy"]; settings["maxmemory"] != "0" && policy != "noeviction" {
		return fault("redis memory", FaultRedisEviction, "maxmemory-policy is "+policy, "set `maxmemory-policy noeviction`: otherwise Redis removes routes when its memory is full")
	}
	return diagnose.OK("redis memory", "", "nothing is evicted")
}

// clock compares our clock with that of Redis.
func clock(ctx context.Context, fleet *redisroutes.Fleet, now func() time.Time) diagnose.Finding {
	before := now()
	there, err := fleet.Now(ctx)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || !refused(err, "NOPERM") {
			return fault("clock", FaultRedisUnreachable, err.Error(), "look at the log of Redis")
		}
		return fault("clock", FaultRedisRights, err.Error(), "give the user the right +time (docs/routes.md)")
	}
	took := now().Sub(before)
	skew := before.Add(took / 2).Sub(there)
	if skew.Abs() > maxSkew+took/2 {
		return fault("clock", FaultClock, fmt.Sprintf("this machine and Redis differ by %v", skew.Round(time.Millisecond)),
			"let a time service (chrony, systemd-timesyncd) set the clock of both; tokens and certificates are judged by it")
	}
	return diagnose.OK("clock", "", "agrees with that of Redis")
}
