//go:build linux

package main

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

func TestNames(t *testing.T) {
	s := newNames(t,
		service("web", "default", "10.203.128.10"),
		service("many", "default", corev1.ClusterIPNone),
		&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "many-1", Labels: map[string]string{discoveryv1.LabelServiceName: "many"}},
			Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{"10.203.64.1"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}},
				{Addresses: []string{"10.203.64.2"}, Conditions: discoveryv1.EndpointConditions{Ready: new(false)}},
			},
		})
	cases := []struct {
		name  string
		kind  dnsmessage.Type
		code  dnsmessage.RCode
		addrs []string
	}{
		{"web.default.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"10.203.128.10"}},
		{"WEB.default.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"10.203.128.10"}},
		{"web.default.svc.cluster.local.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, nil},
		{"many.default.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"10.203.64.1"}},
		{"web.other.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"web.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"a.b.web.default.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"example.org.", dnsmessage.TypeA, dnsmessage.RCodeRefused, nil},
		{".", dnsmessage.TypeA, dnsmessage.RCodeRefused, nil},
	}
	for _, c := range cases {
		reply := ask(t, s, c.name, c.kind, 512)
		var got []string
		for _, a := range reply.Answers {
			got = append(got, netip.AddrFrom4(a.Body.(*dnsmessage.AResource).A).String())
		}
		if reply.RCode != c.code || !slices.Equal(got, c.addrs) || reply.ID != 7 || !reply.Response {
			t.Errorf("%s %v: got %v %v, want %v %v", c.name, c.kind, reply.RCode, got, c.code, c.addrs)
		}
	}
	if reply := ask(t, s, "web.default.svc.cluster.local.", dnsmessage.TypeA, 50); !reply.Truncated || len(reply.Answers) > 0 {
		t.Errorf("got %+v, want it truncated", reply)
	}
	if _, err := s.answer([]byte("no message"), 512); err == nil {
		t.Error("got an answer to what is no question")
	}
}

func FuzzNames(f *testing.F) {
	s := newNames(f, service("web", "default", "10.203.128.10"))
	f.Add([]byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, query []byte) {
		answer, err := s.answer(query, 512)
		if err == nil && len(answer) > 512 {
			t.Errorf("got %d bytes, want at most 512", len(answer))
		}
	})
}

func newNames(t testing.TB, objects ...any) *names {
	t.Helper()
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	services := cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers)
	slices := cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers)
	for _, o := range objects {
		var err error
		switch o.(type) {
		case *corev1.Service:
			err = services.Add(o)
		default:
			err = slices.Add(o)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &names{services: corelisters.NewServiceLister(services), slices: discoverylisters.NewEndpointSliceLister(slices)}
}

func service(name, namespace, ip string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip}}
}

func ask(t *testing.T, s *names, name string, kind dnsmessage.Type, most int) dnsmessage.Message {
	t.Helper()
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	b, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	b, err = s.answer(b, most)
	if err != nil {
		t.Fatal(err)
	}
	var reply dnsmessage.Message
	if err := reply.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return reply
}
