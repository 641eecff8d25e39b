package redisgate

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes/keytext"
)

func ring(t *testing.T, keys string) *Keyring {
	t.Helper()
	k, err := ParseKeyring(keys)
	check(t, err)
	return k
}

func TestParseKeyring(t *testing.T) {
	a, b := keytext.New(), keytext.New()
	for _, tt := range []struct {
		name, text string
		want       int // keys, 0 for an error
	}{
		{"one key", a, 1},
		{"one key and a line break", a + "\n", 1},
		{"two keys on lines", a + "\n" + b + "\n", 2},
		{"two keys with a comma", a + "," + b, 2},
		{"nothing", " \n", 0},
		{"a key that is too short", "c2hvcnQ=", 0},
		{"no base64", strings.Repeat("!", 44), 0},
		{"a good key and a bad one", a + " " + a[1:], 0},
	} {
		k, err := ParseKeyring(tt.text)
		switch {
		case tt.want == 0 && err == nil:
			t.Errorf("%s: got no error", tt.name)
		case tt.want == 0 && strings.Contains(err.Error(), a[:20]):
			t.Errorf("%s: the error holds a key: %v", tt.name, err)
		case tt.want > 0 && (err != nil || len(k.PublicKeys()) != tt.want):
			t.Errorf("%s: got %v, want %d keys", tt.name, err, tt.want)
		}
	}
	file := filepath.Join(t.TempDir(), "gate.key")
	if _, err := ReadKeyring(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
	check(t, os.WriteFile(file, []byte(a+"\n"), 0o600))
	if _, err := ReadKeyring(file); err != nil {
		t.Error(err)
	}
}

func TestSealsHoldForOnePurposePlaceAndKey(t *testing.T) {
	a, b := keytext.New(), keytext.New()
	k := ring(t, a)
	sealed := k.Seal("cookie", "web.pods.test", []byte("text"))
	if again := k.Seal("cookie", "web.pods.test", []byte("text")); again == sealed {
		t.Error("the same text is sealed the same twice")
	}
	flipped := []byte(sealed)
	flipped[len(flipped)/2] ^= 1
	for _, tt := range []struct {
		name                   string
		ring                   *Keyring
		purpose, place, sealed string
		opens                  bool
	}{
		{"as it was sealed", k, "cookie", "web.pods.test", sealed, true},
		{"after a rotation", ring(t, b+" "+a), "cookie", "web.pods.test", sealed, true},
		{"after the key is gone", ring(t, b), "cookie", "web.pods.test", sealed, false},
		{"for another purpose", k, "session", "web.pods.test", sealed, false},
		{"for another place", k, "cookie", "db.pods.test", sealed, false},
		{"with the border moved", k, "cookiew", "eb.pods.test", sealed, false},
		{"with a bit changed", k, "cookie", "web.pods.test", string(flipped), false},
		{"cut short", k, "cookie", "web.pods.test", sealed[:len(sealed)-4], false},
		{"nothing", k, "cookie", "web.pods.test", "", false},
		{"no base64", k, "cookie", "web.pods.test", "%%%", false},
	} {
		plain, err := tt.ring.Open(tt.purpose, tt.place, tt.sealed)
		if tt.opens && (err != nil || string(plain) != "text") {
			t.Errorf("%s: got %q, %v", tt.name, plain, err)
		}
		if !tt.opens && !errors.Is(err, ErrSeal) {
			t.Errorf("%s: got %v, want %v", tt.name, err, ErrSeal)
		}
	}
}

func TestMAC(t *testing.T) {
	a, b := keytext.New(), keytext.New()
	k := ring(t, a)
	mac := k.MAC("session", "h", []byte("m"))
	for _, tt := range []struct {
		name           string
		ring           *Keyring
		purpose, place string
		message        string
		mac            []byte
		want           bool
	}{
		{"as it was made", k, "session", "h", "m", mac, true},
		{"its first half", k, "session", "h", "m", mac[:16], true},
		{"after a rotation", ring(t, b+","+a), "session", "h", "m", mac, true},
		{"too short", k, "session", "h", "m", mac[:15], false},
		{"too long", k, "session", "h", "m", append(mac[:32:32], 0), false},
		{"of another message", k, "session", "h", "n", mac, false},
		{"of another place", k, "session", "g", "m", mac, false},
		{"of another purpose", k, "share", "h", "m", mac, false},
		{"of another key", ring(t, b), "session", "h", "m", mac, false},
	} {
		if got := tt.ring.CheckMAC(tt.purpose, tt.place, []byte(tt.message), tt.mac); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSigningKeys(t *testing.T) {
	a, b := keytext.New(), keytext.New()
	id, private := ring(t, a).SigningKey()
	rotated := ring(t, b+" "+a).PublicKeys()
	if len(rotated) != 2 || rotated[1].ID != id || rotated[0].ID == id {
		t.Fatalf("got ids %v, want %q as the second", rotated, id)
	}
	if sig := ed25519.Sign(private, []byte("x")); !ed25519.Verify(rotated[1].Key, []byte("x"), sig) {
		t.Error("the published key does not verify")
	}
}
