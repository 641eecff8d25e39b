package main

import (
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// authorities returns the certificates that Mozilla trusts without conditions, as
// PEM. They come with a module, not from the machine, so every machine builds the
// same image. The conditions of the others can't be told in a file.
func authorities() string {
	var b strings.Builder
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.String()
}
