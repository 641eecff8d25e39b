//go:build clients

package clients

// heavy is whether servers that take long to fetch are started too.
const heavy = true
