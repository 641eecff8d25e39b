// Package sdk drives a whole Podway with tapipy, the Python SDK of Tapis, as it
// comes from PyPI: every operation on pods that it offers, and the snippets of
// the public documents.
//
// requirements.txt names the version of the SDK.
package sdk
