package pods

import (
	"crypto/rand"
	"strings"
)

// adminUsername is the same for every pod.
const adminUsername = "podsservice"

// passwordLength of generated passwords: 30 of 62 characters are 178 bits.
const passwordLength = 30

const passwordAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// NewCredentials generates the credentials of a new pod. They are made of
// letters and digits, so that they need no quoting in URLs and shells.
func NewCredentials(id ID) Credentials {
	return Credentials{
		AdminUsername: adminUsername,
		AdminPassword: newPassword(),
		UserUsername:  string(id),
		UserPassword:  newPassword(),
	}
}

// NewUID returns a fresh value for [Pod.UID]: 26 lower-case letters and digits,
// which also fit into a Kubernetes label.
func NewUID() string { return strings.ToLower(rand.Text()) }

func newPassword() string { return randomText(passwordLength, passwordAlphabet) }

// randomText returns random characters of an alphabet.
func randomText(length int, alphabet string) string {
	// Bytes from this bound on would make the first letters likelier than others.
	bound := 256 - 256%len(alphabet)
	text := make([]byte, 0, length)
	var buf [2 * passwordLength]byte
	for len(text) < length {
		_, _ = rand.Read(buf[:]) // never fails; see crypto/rand
		for _, b := range buf {
			if int(b) < bound && len(text) < length {
				text = append(text, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(text)
}
