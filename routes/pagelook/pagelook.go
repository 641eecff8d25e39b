// Package pagelook is the look of the pages that Podway itself shows people, at the
// edge and at the control plane: one style sheet, for dark and light and for every
// width, and the policy that lets a browser load it and nothing else.
//
//	h.Set("Content-Security-Policy", pagelook.Policy(pagelook.Style, pagelook.NoForms))
package pagelook

import (
	"crypto/sha256"
	_ "embed" // for the style sheet
	"encoding/base64"
	"html/template"
)

// Style is the style sheet, to be written into the one <style> element of a page
// without any character more.
//
//go:embed style.css
var Style template.CSS

// Where the forms of a page may lead.
const (
	NoForms  = "'none'"
	SameHost = "'self'"
)

// Policy returns the Content-Security-Policy of a page with this style sheet, whose
// forms lead to formAction: a list of sources, see CSP Level 3 §6.4.1.
func Policy(style template.CSS, formAction string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action " + formAction + "; frame-ancestors 'none'"
}
