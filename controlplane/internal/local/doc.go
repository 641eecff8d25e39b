// Package local is a [pods.Cluster] of local processes, for development on a
// machine without Kubernetes.
//
//	cluster, err := local.Open(local.Options{Dir: ".run/pods", Self: "/usr/local/bin/podway"})
//	if err != nil { ... }
//	defer cluster.Close()      // pods go on
//	...
//	err = cluster.StopAll(ctx) // or: pods stop, their storage stays
//
// An image is an entry of the catalogue ([Images]), run with the programs of
// this machine: podway/hello is built in, postgres and redis need their Debian
// packages. For a few web images podway/hello stands in. A tag is accepted and
// means nothing: the version on the machine runs. There is no isolation: a pod is
// a process of the same machine, its exec runs commands there, its files are all
// that its user may reach, and CPU and memory limits are not applied. Serve only
// people you would give a shell to.
//
// # Life of a pod
//
//  1. Apply writes a run folder and starts a shim, a process in a session of
//     its own (`podway pod-shim <folder>`, [ShimMain]), so that pods survive the
//     control plane, its crash included.
//  2. The shim prepares the storage if the image wants that, starts the program,
//     collects its output, and writes what happens to the run folder. It ends
//     when the program does, and takes with it whatever the program started.
//  3. The cluster sees by a file lock whether the shim lives: the kernel frees
//     the lock at its end, however it ends. Open adopts the runs it finds.
//  4. A pod is ready when all its ports but local_only ones accept connections.
//  5. Remove asks the shim to stop, then deletes the run folder; Purge deletes
//     the pod's whole folder.
//
// # Addresses
//
// On Linux every pod has a loopback address of its own, so pods may use the same
// port. Elsewhere only 127.0.0.1 is there, and each port of a pod is mapped to a
// free one. The program is told where to listen:
//
//	PODWAY_POD_ID          the pod's id
//	PODWAY_INSTANCE        the name of this run
//	PODWAY_ADDRESS         the address
//	PODWAY_PORT_<KEY>      the port of a networking entry, its key in upper case
//	PODWAY_VOLUME_<KEY>    the folder of a volume mount of type pvc
//	PODWAY_EPHEMERAL_<KEY> the file or the empty folder of an ephemeral mount
//	PODWAY_MOUNT_<ID>      the folder of a volume or snapshot, its id in upper case
//
// Nothing is mounted at the path that a mount names: that is the machine's. Files
// that are copied to or from a path below it are those of the mount's folder. A
// snapshot is not protected from the pods that mount it.
//
// # Files
//
// Below Options.Dir, readable by the owner only:
//
//	db@dev/               pod db of tenant dev
//	  pod.json            whose pod this is, and its address
//	  log, log.1          output of the newest run, the newest 10 MiB at least
//	  storage/            working folder of the program; kept until Purge
//	  run/                there while the pod is: spec.json, state.json, lock
//
// PostgreSQL refuses to run as root. If we are root, postgres and redis run as
// their own user, who must be able to reach the storage. Where a parent folder
// keeps them out (/root), storage is a link to a folder in [os.TempDir].
package local
