package h1

import "net/textproto"

// common holds the canonical form of names that servers use, by the forms they
// write them in, so that most need no memory of their own.
var common = func() map[string]string {
	m := map[string]string{}
	for _, name := range []string{
		"Accept-Ranges", "Access-Control-Allow-Credentials", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods",
		"Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Age", "Allow", "Cache-Control", "Connection",
		"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location", "Content-Range",
		"Content-Security-Policy", "Content-Type", "Date", "Etag", "Expires", "Keep-Alive", "Last-Modified", "Link", "Location",
		"Permissions-Policy", "Pragma", "Referrer-Policy", "Retry-After", "Server", "Set-Cookie", "Strict-Transport-Security",
		"Trailer", "Transfer-Encoding", "Upgrade", "Vary", "Via", "Www-Authenticate", "X-Content-Type-Options",
		"X-Frame-Options", "X-Powered-By", "X-Request-Id",
	} {
		m[name], m[lower(name)] = name, name
	}
	m["ETag"], m["WWW-Authenticate"] = "Etag", "Www-Authenticate"
	return m
}()

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// canonical returns a name in the form of [net/http.CanonicalHeaderKey].
func canonical(name string) string {
	if s, ok := common[name]; ok {
		return s
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}
