// Package importer takes what a Pods service written in Python keeps in Postgres
// into our store:
//
//	report, err := importer.Import(ctx, store, importer.Options{From: "postgres://…", DryRun: true})
//	report.Print(os.Stdout)
//
// The source has a schema for each tenant, with a table for each kind of object. It
// is read in one transaction that writes nothing. Each object is written whole or
// not at all, and only if its id is free, so an import can be interrupted and
// repeated: it goes on with what is missing.
//
// Bodies as clients would send them are made of the rows, and decoded by package
// pods: what the API would refuse is skipped, with the API's words as the reason.
// What an object had that we have no place for is told in a note.
//
// Files of volumes, the storage of pods and values of secrets are not in the
// source, so they are not imported.
package importer
