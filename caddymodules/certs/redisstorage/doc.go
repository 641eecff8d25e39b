// Package redisstorage keeps certificates, their private keys and what else
// certmagic stores in Redis, so that all edges share them.
//
//	ring, err := redisstorage.ReadKeyring("certificates.key")
//	if err != nil { ... }
//	storage, err := redisstorage.New(redisstorage.Options{Client: client, Keyring: ring})
//	if err != nil { ... }
//	defer storage.Close()
//	err = storage.Lock(ctx, "issue_cert_db.example.org")
//
// # Keys
//
//	podway:{default}:certs:values        hash, key of certmagic → sealed value
//	podway:{default}:certs:index         sorted set of the same keys, for lists
//	podway:{default}:certs:lock:<name>   "<fence>:<owner>" while it is held,
//	                                     "<fence>:" for a day after that
//	podway:{default}:certs:fence         number of the last lock that was taken
//	podway:{default}:certs:marker        set once, so that an emptied Redis is noticed
//
// Values are AES-256-GCM bound to their key: one that was moved or changed does not
// open, and a copy of Redis holds no private key that can be read.
//
// # Locks
//
// A lock has an owner, a time to live that its owner extends while it works, and a
// number that grows with each lock taken: its fence. What is stored for a name
// whose lock this process believes to hold is refused with [ErrLockLost] if another
// took the lock since, so that a process that stood still can't undo the other's work.
//
// # Mirror
//
// With a mirror, a folder of this machine, what was read once can be read without
// Redis: an edge that is started then has its certificates. Its files are as sealed
// as the values. A Redis that comes back empty is filled from it again, so that
// nothing that is still valid is issued twice.
package redisstorage
