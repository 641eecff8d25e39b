package pods

import (
	"regexp"
	"testing"
)

func TestNewCredentials(t *testing.T) {
	password := regexp.MustCompile(`^[A-Za-z0-9]{30}$`)
	seen := make(map[string]bool)
	for range 200 {
		c := NewCredentials("mypod")
		if c.UserUsername != "mypod" || c.AdminUsername != "podsservice" {
			t.Fatalf("got users %q and %q, want mypod and podsservice", c.UserUsername, c.AdminUsername)
		}
		for _, p := range []string{c.UserPassword, c.AdminPassword} {
			if !password.MatchString(p) {
				t.Fatalf("got password %q, want 30 letters and digits", p)
			}
			if seen[p] {
				t.Fatalf("got password %q twice", p)
			}
			seen[p] = true
		}
	}
}

func TestPasswordsUseTheWholeAlphabet(t *testing.T) {
	count := make(map[byte]int)
	const n = 2000
	for range n {
		for _, b := range []byte(newPassword()) {
			count[b]++
		}
	}
	// 60,000 characters: about 968 of each, with a deviation of about 31.
	for _, b := range []byte(passwordAlphabet) {
		if got := count[b]; got < 700 || got > 1250 {
			t.Errorf("got %q %d times, want about %d", b, got, n*passwordLength/len(passwordAlphabet))
		}
	}
}

func TestNewUID(t *testing.T) {
	label := regexp.MustCompile(`^[a-z0-9]{26}$`)
	a, b := NewUID(), NewUID()
	if !label.MatchString(a) || a == b {
		t.Errorf("got %q and %q, want two different ids of 26 lower-case letters and digits", a, b)
	}
}
