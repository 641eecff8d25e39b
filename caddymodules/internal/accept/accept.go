// Package accept reads the headers in which a client weighs what it takes: Accept
// and Accept-Encoding, RFC 9110 §12.
package accept

import (
	"strconv"
	"strings"
)

// Refused reports whether the parameters of an item, what follows its first
// semicolon, give it the weight 0: the client does not take it. A weight that is no
// number counts as none.
func Refused(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(key), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err == nil && q == 0
		}
	}
	return false
}
