// Package redisroutes carries routes from the control plane to the edges through
// Redis. It owns every Redis key of the route table: [Publisher] writes them,
// [Watcher] keeps a [routes.Table] equal to them and needs Redis only for news.
//
// The control plane:
//
//	opts, err := redisroutes.ParseURL("redis://127.0.0.1:6379")
//	if err != nil { ... }
//	pub, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: redis.NewUniversalClient(opts)})
//	if err != nil { ... }
//	go pub.Watch(ctx, reconciler.EnqueueAll) // publish all again when Redis lost something
//	err = pub.SetPod(ctx, "dev", "db", []routes.Route{...})
//	err = pub.Complete(ctx) // after each pass over all pods
//
// The edge:
//
//	table := routes.NewTable()
//	w, err := redisroutes.NewWatcher(redisroutes.WatcherOptions{Redis: opts, SnapshotFile: "routes.snap"}, table)
//	if err != nil { ... }
//	w.Restore()   // optional: serve the snapshot before Run is under way
//	go w.Run(ctx) // until ctx ends; Redis may come and go
//
// # Protocol
//
// The keys of a namespace share a hash tag, so that one script may touch all of
// them in a Redis Cluster:
//
//	podway:{default}:version   integer, grows by one with every change
//	podway:{default}:epoch     random id of one history of versions
//	podway:{default}:routes    hash, host → route as JSON, its "version" set
//	podway:{default}:log       stream, one entry per version, id "<version>-0":
//	                             host <host> route <JSON, empty if removed>
//	                             epoch <id>     a new epoch begins here
//	                             complete <id>  everything is published
//	podway:{default}:complete  the epoch in which the control plane has published
//	                           every pod it knows
//
// A write is one script: it advances version, changes the hash and appends to the
// log, for all routes of a pod at once, and does nothing if epoch or version are
// not what the publisher knows. Since log ids are versions, a reader sees a gap.
//
// A reader goes through these steps:
//
//  1. It serves the snapshot file, if there is one.
//  2. It compares epoch and version with what it has and looks up the log entry of
//     its version. If that is the entry it applied, it goes on at step 4.
//  3. It reads the whole hash, then the log from the version it began at, and
//     compares the outcome with its table: one change per route that differs.
//  4. It blocks on the log and applies entry after entry. A gap or a new epoch
//     leads to step 3, a lost connection to step 2.
//
// An epoch ends when Redis lost writes: it was restarted empty, a lagging replica
// took over, an operator removed keys. Whoever published notices, begins a new
// epoch and publishes everything again; until then readers keep what Redis lacks,
// see [WatcherOptions.HoldTime]. Readers may notice first: the version went back,
// the entry of a version is another one, or most of the table is missing. The mark
// that the epoch was complete then counts for nothing. The table is never cleared,
// and a record that can't be used changes nothing but a counter.
package redisroutes
