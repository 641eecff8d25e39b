package pods

import (
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of access tokens.
const (
	maxAccessLabel    = 128
	minAccessPassword = 6
	maxAccessPassword = 256
	maxAccessLife     = 10 * 365 * 24 * time.Hour
	maxAccessUses     = 1_000_000
)

// NewAccessToken is the decoded body of a request for an access token.
type NewAccessToken struct {
	Label    string
	Kind     AccessTokenKind
	Password string        // of the kind password
	Life     time.Duration // 0: for ever
	MaxUses  int           // 0: no bound
}

// DecodeAccessToken reads the body of a request for an access token. The error has
// code Invalid and one message per problem.
func DecodeAccessToken(body []byte) (NewAccessToken, error) {
	var p problems
	fields, ok := parseBody(body, &p)
	if !ok {
		return NewAccessToken{}, p.err()
	}
	o := &object{where: at(bodyLoc), fields: fields, problems: &p}
	var label, kind, password Opt[string]
	var life, uses Opt[int]
	take(o, "label", &label, readString)
	take(o, "kind", &kind, readLower)
	take(o, "password", &password, readString)
	take(o, "expires_in_seconds", &life, readInt)
	take(o, "max_uses", &uses, readInt)
	o.done()
	n := NewAccessToken{
		Label: strings.TrimSpace(label.Or("")), Kind: AccessTokenKind(kind.Or(string(AccessLink))), Password: password.Or(""),
		Life: time.Duration(life.Or(0)) * time.Second, MaxUses: uses.Or(0),
	}
	n.check(&p)
	if seconds, ok := life.Get(); ok && (seconds < 1 || seconds > int(maxAccessLife.Seconds())) {
		p.add(at(bodyLoc).in("expires_in_seconds"), "expires_in_seconds must be between 1 and %d. Leave it out for a token that does not expire", int(maxAccessLife.Seconds()))
	}
	if most, ok := uses.Get(); ok && (most < 1 || most > maxAccessUses) {
		p.add(at(bodyLoc).in("max_uses"), "max_uses must be between 1 and %d. Leave it out for no bound", maxAccessUses)
	}
	return n, p.err()
}

func (n NewAccessToken) check(p *problems) {
	if utf8.RuneCountInString(n.Label) > maxAccessLabel || hasControl(n.Label) {
		p.add(at(bodyLoc).in("label"), "label must have at most %d characters and no control characters", maxAccessLabel)
	}
	switch n.Kind {
	case AccessLink:
		if n.Password != "" {
			p.add(at(bodyLoc).in("password"), "password can only be set with kind 'password'")
		}
	case AccessPassword:
		if size := utf8.RuneCountInString(n.Password); size < minAccessPassword || size > maxAccessPassword {
			p.add(at(bodyLoc).in("password"), "password must have %d to %d characters", minAccessPassword, maxAccessPassword)
		}
	default:
		p.add(at(bodyLoc).in("kind"), "kind must be 'link' or 'password'")
	}
}
