package api

import (
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// What a client sends in place of a form is its own fault.
func TestPartsThatCantBeReadAreInvalid(t *testing.T) {
	for name, tt := range map[string]struct{ body, want string }{
		"a header without a colon":     {"--b\r\n-20263--b--\r\n", "missing colon"},
		"a header with a NUL":          {"--b\r\n\x00a: b\r\n\r\n", "malformed MIME header"},
		"something behind a boundary":  {"--b\r\nA: b\r\n\r\nc\r\n--bd\r\n", ""},
		"an unknown transfer encoding": {"--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ\r\n--b--\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			part, err := nextPart(multipart.NewReader(strings.NewReader(tt.body), "b"))
			if err == nil {
				_, err = io.Copy(io.Discard, part)
				err = formError(err)
			}
			switch {
			case tt.want == "" && (err == nil || pods.ErrorCode(err) == pods.Invalid):
			case tt.want != "" && err != nil && pods.ErrorCode(err) == pods.Invalid && strings.Contains(err.Error(), tt.want):
			default:
				t.Errorf("got %v, want it invalid with %q", err, tt.want)
			}
		})
	}
	if _, err := nextPart(multipart.NewReader(strings.NewReader("--b--\r\n"), "b")); !errors.Is(err, io.EOF) {
		t.Errorf("got %v at the end, want EOF", err)
	}
}
