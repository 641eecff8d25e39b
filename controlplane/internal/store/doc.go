// Package store keeps pods in a SQL database: SQLite, embedded, for one control
// plane; Postgres for several. [Store] implements pods.Store, whose comments are
// the specification; the suite in storetest checks it on both.
//
//	keys, err := store.LoadOrCreateKeyFile("/var/lib/podway/store.key")
//	...
//	s, err := store.Open(ctx, "sqlite:/var/lib/podway/podway.db", store.Options{Keyring: keys})
//	...
//	defer s.Close()
//	if err := s.Migrate(ctx); err != nil { ... } // `podway migrate`
//	if err := s.Ready(ctx); err != nil { ... }   // before serving
//
// There is one code path and one schema for both engines. What differs is in
// engine: how to connect, how to lock a row, how to tell an error that goes away
// when tried again.
//
// Every write is one short transaction that first locks the pod's row, so that
// writes of one pod are in one order and those of different pods do not meet.
// Users' columns and the reconciler's are in different tables with a version
// each; a writer that read an older version gets a Conflict.
package store
