// Package files keeps what is in volumes and snapshots, in one folder that the
// control plane and the pods share: a claim that many can write to, NFS, or a
// plain folder in development.
//
//	tree, err := files.OpenTree("/srv/podway")
//	...
//	keeper := files.NewKeeper(tree, files.Options{Store: store})
//	go keeper.Run(ctx)              // finishes snapshots, measures, removes what was deleted
//	v, err := keeper.Make(ctx, v)   // a [pods.Files]
//
// # On disk
//
//	<tenant>/volumes/<id>/          a volume; pods mount it
//	<tenant>/snapshots/<id>/        a snapshot
//	.podway/owners/<tenant>/...     which volume (UID) a folder belongs to
//	.podway/staging/<uid>-.../      a snapshot that is being copied
//	.podway/tombstones/<uid>/       a deleted volume
//
// What is in a volume was written by pods, which may be hostile and at work at
// the same time. So every access goes through [os.Root], one folder of a path
// after the other, and symbolic links are never followed; nothing is opened that
// is no regular file, so no pipe can hold a reader up; and what is walked has
// bounds.
//
// # Life of a folder
//
//  1. [Keeper.Make] writes the owner's mark, then makes the folder. A folder
//     that is there without the mark is not taken over: it is somebody's data.
//  2. A snapshot is copied into staging and renamed when it is whole.
//  3. [Keeper.Remove] turns the row in the store into a tombstone, then renames the
//     folder out of reach.
//  4. When the tombstone is older than the grace period, the files are deleted,
//     then the tombstone.
//
// Each step can be repeated, and the next run of the loop completes what a crash
// has cut off. Files are deleted because of a tombstone and for no other reason:
// a folder that the store does not know stays. A root in which nothing is, though
// the store knows volumes, is taken for a share that is not mounted.
//
// # Rights
//
// Folders and files are made writable for everyone, since pods run as users of
// their own. The folders above them let nobody look around, so what protects a
// volume is that only its pods mount it. The root must not be exported to
// machines that people log in to.
package files
