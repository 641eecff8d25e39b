package storetest

import (
	"slices"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// queryPods are the pods that queryCases select from, by key.
var queryPods = map[string]pods.Permissions{
	"a/p1": {"ann": pods.LevelAdmin},
	"a/p2": {"ann": pods.LevelAdmin, "bob": pods.LevelRead},
	"a/p3": {"ann": pods.LevelAdmin, "bob": pods.LevelNone},
	"a/p4": {"cat": pods.LevelAdmin, "*": pods.LevelRead},
	"a/p5": {"cat": pods.LevelAdmin, "TENANT": pods.LevelUser},
	"a/p6": {"cat": pods.LevelAdmin, "*": pods.LevelNone},
	"a/p7": {"cat": pods.LevelApprovedAdmin, "bob": pods.LevelNone, "*": pods.LevelRead},
	"a/p8": {"bob": pods.LevelUser, "*": pods.LevelRead, "TENANT": pods.LevelRead},
	"b/p1": {"ann": pods.LevelAdmin},
	"b/p9": {"bob": pods.LevelRead, "bo": pods.LevelRead},
}

var queryCases = []struct {
	name string
	q    pods.PodQuery
	want []string
}{
	{
		"the zero query selects every pod",
		pods.PodQuery{},
		[]string{"a/p1", "a/p2", "a/p3", "a/p4", "a/p5", "a/p6", "a/p7", "a/p8", "b/p1", "b/p9"},
	},
	{"a tenant selects its pods", pods.PodQuery{Tenant: "b"}, []string{"b/p1", "b/p9"}},
	{"an unknown tenant has none", pods.PodQuery{Tenant: "c"}, nil},
	{"a limit ends the list", pods.PodQuery{Limit: 3}, []string{"a/p1", "a/p2", "a/p3"}},
	{"a limit with a tenant ends the list", pods.PodQuery{Tenant: "b", Limit: 1}, []string{"b/p1"}},
	{"a page starts after an id", pods.PodQuery{Tenant: "a", After: "p3", Limit: 2}, []string{"a/p4", "a/p5"}},
	{"a page starts after an id that is not there", pods.PodQuery{Tenant: "a", After: "p65"}, []string{"a/p7", "a/p8"}},
	{"a page after the last is empty", pods.PodQuery{Tenant: "a", After: "p8", Limit: 2}, nil},
	{
		"a user sees pods with an entry of READ or more, and those for everyone",
		pods.PodQuery{Tenant: "a", User: "bob"},
		[]string{"a/p2", "a/p4", "a/p5", "a/p7", "a/p8"},
	},
	{"a user sees each pod once", pods.PodQuery{Tenant: "a", User: "bob", After: "p7"}, []string{"a/p8"}},
	{"levels above READ count", pods.PodQuery{Tenant: "a", User: "cat", After: "p4", Limit: 3}, []string{"a/p5", "a/p6", "a/p7"}},
	{"a stranger sees pods for everyone", pods.PodQuery{Tenant: "a", User: "dan"}, []string{"a/p4", "a/p5", "a/p7", "a/p8"}},
	{"the user * sees what everyone sees", pods.PodQuery{Tenant: "a", User: "*"}, []string{"a/p4", "a/p5", "a/p7", "a/p8"}},
	{"a name that begins alike is another user", pods.PodQuery{Tenant: "b", User: "bo"}, []string{"b/p9"}},
	{"a pattern is only a name", pods.PodQuery{Tenant: "b", User: "b%"}, nil},
	{"a name that is no text sees nothing", pods.PodQuery{Tenant: "a", User: "\x00"}, nil},
	{"pages of a user's pods do not lose any", pods.PodQuery{Tenant: "a", User: "bob", Limit: 2}, []string{"a/p2", "a/p4"}},
	{"an offset passes over pods of the whole list", pods.PodQuery{Limit: 3, Offset: 6}, []string{"a/p7", "a/p8", "b/p1"}},
	{"an offset passes over those that a user sees", pods.PodQuery{Tenant: "a", User: "bob", Limit: 2, Offset: 3}, []string{"a/p7", "a/p8"}},
	{"an offset counts from where the page starts", pods.PodQuery{Tenant: "a", User: "bob", After: "p2", Limit: 1, Offset: 1}, []string{"a/p5"}},
	{"an offset behind the last is empty", pods.PodQuery{Tenant: "a", User: "bob", Limit: 2, Offset: 99}, nil},
	{"the next page follows", pods.PodQuery{Tenant: "a", User: "bob", After: "p4", Limit: 2}, []string{"a/p5", "a/p7"}},
	{
		"a user without a tenant sees pods of all tenants",
		pods.PodQuery{User: "ann"},
		[]string{"a/p1", "a/p2", "a/p3", "a/p4", "a/p5", "a/p7", "a/p8", "b/p1"},
	},
	{"a user without a tenant can have a limit", pods.PodQuery{User: "ann", Limit: 2}, []string{"a/p1", "a/p2"}},
}

var queryTests = []test{
	{"a query selects by tenant, user and page, in the order of tenant and id", func(s *suite) {
		s.createQueryPods()
		for _, c := range queryCases {
			s.Run(c.name, func(t *testing.T) {
				got, err := s.Pods(t.Context(), c.q)
				if err != nil {
					t.Fatal(err)
				}
				wantEqual(t, "pods", keys(got), c.want)
			})
		}
	}},
	{"a pod in a list is the same as the pod alone", func(s *suite) {
		s.createQueryPods()
		ps, err := s.Pods(s.Context(), pods.PodQuery{})
		if err != nil {
			s.Fatal(err)
		}
		for _, p := range ps {
			wantEqual(s, "pod", p, s.read(p.Key))
		}
	}},
	{"a list follows changes of permissions", func(s *suite) {
		p := s.create("web")
		visible := func() int {
			ps, err := s.Pods(s.Context(), pods.PodQuery{Tenant: tenant, User: "bob", Limit: 10})
			if err != nil {
				s.Fatal(err)
			}
			return len(ps)
		}
		for _, step := range []struct {
			permissions pods.Permissions
			want        int
		}{
			{pods.Permissions{"ann": pods.LevelAdmin, "bob": pods.LevelRead}, 1},
			{pods.Permissions{"ann": pods.LevelAdmin, "bob": pods.LevelNone}, 0},
			{pods.Permissions{"ann": pods.LevelAdmin, "*": pods.LevelUser}, 1},
			{pods.Permissions{"ann": pods.LevelAdmin}, 0},
			{pods.Permissions{"bob": pods.LevelAdmin}, 1},
		} {
			p.Permissions = step.permissions
			p = s.update(p)
			wantEqual(s, "permissions", p.Permissions, step.permissions)
			if got := visible(); got != step.want {
				s.Fatalf("with %v: got %d pods, want %d", step.permissions, got, step.want)
			}
		}
		s.delete(p.Key)
		if got := visible(); got != 0 {
			s.Fatalf("after the pod's end: got %d pods, want 0", got)
		}
	}},
}

func (s *suite) createQueryPods() {
	s.Helper()
	for k, permissions := range queryPods {
		s.create(pods.ID(k[2:]), func(p *pods.Pod) { p.Tenant, p.Permissions = k[:1], permissions })
	}
}

func keys(ps []pods.Pod) []string {
	var ks []string
	for p := range slices.Values(ps) {
		ks = append(ks, p.String())
	}
	return ks
}
