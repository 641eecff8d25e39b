package redisroutes

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// go-redis prints to the standard error what it returns as an error too, where it
// is logged with what was being done.
func init() { redis.SetLogger(quiet{}) }

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
