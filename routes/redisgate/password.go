package redisgate

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parameters of argon2id, as OWASP recommends them for logins.
const (
	argonTime    = 2
	argonMemory  = 19 * 1024 // KiB
	argonThreads = 1
	argonBytes   = 32
)

// argonPrefix says how a hash was made. One that was made in another way matches
// nothing.
var argonPrefix = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, argonMemory, argonTime, argonThreads)

// HashPassword returns the hash of a password for a host, with a random salt.
func HashPassword(host, password string) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // it never fails
	enc := base64.RawStdEncoding.EncodeToString
	return argonPrefix + enc(salt) + "$" + enc(argon(salt, host, password))
}

func argon(salt []byte, host, password string) []byte {
	return argon2.IDKey([]byte(host+"\x00"+password), salt, argonTime, argonMemory, argonThreads, argonBytes)
}

// matchesPassword reports whether hash is of a password.
func matchesPassword(hash, host, password string) bool {
	rest, ok := strings.CutPrefix(hash, argonPrefix)
	if !ok {
		return false
	}
	first, second, _ := strings.Cut(rest, "$")
	salt, err1 := base64.RawStdEncoding.DecodeString(first)
	want, err2 := base64.RawStdEncoding.DecodeString(second)
	if err1 != nil || err2 != nil || len(want) != argonBytes {
		return false
	}
	return subtle.ConstantTimeCompare(argon(salt, host, password), want) == 1
}
