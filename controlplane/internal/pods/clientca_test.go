package pods

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes/routestest"
)

// aLeaf is the certificate of somebody who is no authority.
const aLeaf = `-----BEGIN CERTIFICATE-----
MIIBdDCCARqgAwIBAgIUcaqmESrToXfYgBZi7Y9clD1l0pswCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFYWxpY2UwIBcNMjYxMTIxMjMzMjI4WhgPMjEyNjEwMjgyMzMy
MjhaMBAxDjAMBgNVBAMMBWFsaWNlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
05Nxls7UKMqa/QNAhQ/OR5A4Yr2El8Oulbq2zUX18+pyxnyUZkS5+bmr+3ajoLhA
e/jyeQAD8UlU3fEUKkfjTKNQME4wHQYDVR0OBBYEFLITQznPT+RtiTIb4/mLpF/7
KZLEMB8GA1UdIwQYMBaAFLITQznPT+RtiTIb4/mLpF/7KZLEMAwGA1UdEwEB/wQC
MAAwCgYIKoZIzj0EAwIDSAAwRQIgLDLt+GNPgDcAJ9BkcBYpjGQEk7PufMg0QKGG
TaofED4CIQCAiDk2TYv2WRsqkpchsWaq2rIc+A2AzeI+AadWl84dTQ==
-----END CERTIFICATE-----
`

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestClientCA(t *testing.T) {
	const field = "body, networking, default, client_ca: networking.client_ca "
	const authorities = field + "must hold the PEM certificates of 1 to 10 authorities: "
	privateKey := strings.ReplaceAll(aLeaf, "CERTIFICATE", "PRIVATE KEY")
	for _, c := range []struct {
		name, fields string
		want         string // the problem; "": none
	}{
		{"no authority", `"client_ca":""`, ""},
		{"one", `"client_ca":` + quoted(routestest.Authority), ""},
		{"ten, with words between them", `"protocol":"tcp","client_ca":` + quoted(strings.Repeat("# ours\n"+routestest.Authority, 10)), ""},
		{"eleven", `"client_ca":` + quoted(strings.Repeat(routestest.Authority, 11)), authorities + "11 certificates given, at most 10 are allowed"},
		{"what is no PEM", `"client_ca":"ours"`, authorities + "it holds no PEM certificate"},
		{"half a certificate", `"client_ca":` + quoted(routestest.Authority+routestest.Authority[:len(routestest.Authority)/2]), authorities + "block 2 is no complete PEM"},
		{"a certificate of no authority", `"client_ca":` + quoted(aLeaf), authorities + "certificate 1 is not one of an authority"},
		{"a private key by mistake", `"client_ca":` + quoted(routestest.Authority+privateKey), authorities + "block 2 is a PRIVATE KEY, not a certificate"},
		{"a book", `"client_ca":"` + strings.Repeat("x", 16385) + `"`, field + "must have at most 16384 bytes. Got 16385"},
		{"another type", `"client_ca":["x"]`, "body, networking, default, client_ca: str type expected"},
		{
			"an entry that nobody reaches", `"protocol":"local_only","client_ca":` + quoted(routestest.Authority),
			field + "can't be used with protocol 'local_only', which nobody reaches from outside.",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := DecodeNewPod([]byte(netWith(c.fields)), DefaultSettings())
			if c.want == "" {
				e, err := Resolve(n.ID, "dev.localhost", DefaultSettings(), n.Definition)
				if err != nil || e.Networking["default"].ClientCA != n.Definition.Networking.Or(nil)["default"].ClientCA.Or("") {
					t.Errorf("got %+v, %v, want the authorities as given", e.Networking["default"], err)
				}
				return
			}
			if got := problemsOf(t, err); !slices.Equal(got, []string{c.want}) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
