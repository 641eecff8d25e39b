package routes

import (
	"fmt"
	"strings"
	"testing"
)

func TestHeaderRules(t *testing.T) {
	many := map[string]string{}
	for i := range maxHeaderRules + 1 {
		many[fmt.Sprintf("X-%d", i)] = "x"
	}
	for _, tt := range []struct {
		name  string
		rules HeaderRules
		want  string // in the error; "" for none
	}{
		{"set and removed", HeaderRules{SetRequest: map[string]string{"X-Env": "prod"}, RemoveResponse: []string{"Server"}}, ""},
		{"an empty value", HeaderRules{SetResponse: map[string]string{"X-Env": ""}}, ""},
		{"a name that is none", HeaderRules{SetRequest: map[string]string{"X Env": "x"}}, "headers.set_request"},
		{"a line break", HeaderRules{SetResponse: map[string]string{"X": "a\r\nSet-Cookie: b=c"}}, "control character"},
		{"a value that is too long", HeaderRules{SetResponse: map[string]string{"X": strings.Repeat("x", maxHeaderValueBytes+1)}}, "4096 bytes"},
		{"the host", HeaderRules{SetRequest: map[string]string{"host": "evil"}}, "not for rules"},
		{"the length", HeaderRules{RemoveRequest: []string{"Content-Length"}}, "not for rules"},
		{"an identity", HeaderRules{SetRequest: map[string]string{"X-Tapis-User": "root"}}, "not for rules"},
		{"an identity with underscores", HeaderRules{SetRequest: map[string]string{"x_pods_user": "root"}}, "not for rules"},
		{"an address", HeaderRules{SetRequest: map[string]string{"X-Forwarded-For": "::1"}}, "not for rules"},
		{"a cookie", HeaderRules{SetResponse: map[string]string{"Set-Cookie": "a=b; Domain=.test"}}, "not for rules"},
		{"CORS", HeaderRules{SetResponse: map[string]string{"Access-Control-Allow-Origin": "*"}}, "not for rules"},
		{"too many", HeaderRules{SetRequest: many}, "at most 32"},
		{"too many to remove", HeaderRules{RemoveResponse: strings.Split(strings.Repeat("X,", maxHeaderRules)+"X", ",")}, "at most 32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := live(HTTP)
			r.Headers = &tt.rules
			err := r.Validate()
			if (tt.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	r := live(TCP)
	r.Headers = &HeaderRules{}
	if err := r.Validate(); err == nil {
		t.Error("a tcp route has header rules")
	}
}
