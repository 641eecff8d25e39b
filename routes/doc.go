// Package routes is the contract between the two halves of Podway: the control
// plane publishes one [Route] per host name, the edge serves what its [Table]
// holds. It imports the standard library only, so both halves can use it.
//
// A route is checked by [Route.Validate] on both sides: the publisher refuses to
// write a bad record, and a reader that meets one keeps the previous route of
// that host. A record can therefore hurt nobody but its own host.
//
//	table := routes.NewTable()
//	e, err := routes.Compile(routes.Route{
//		Host: "db.pods.dev.localhost", Tenant: "dev", Pod: "db", Net: "default",
//		Protocol: routes.Postgres, State: routes.Live,
//		Upstreams: []string{"10.1.2.3:5432"},
//	})
//	if err != nil { ... }
//	table.Set(e)
//	e = table.Lookup("db.pods.dev.localhost")
package routes
