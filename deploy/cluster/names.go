//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// zone is the domain of services.
const zone = "svc.cluster.local."

// names answers for the names of services, "web.default.svc.cluster.local", with
// addresses: that of the service or, if it is headless, of its ready pods. Other
// names in cluster.local do not exist, and everything else is refused, because
// nothing leads out of the cluster. It is safe for concurrent use.
type names struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

// serveNames serves names on the node's address, which the kubelet tells pods.
func (n *node) serveNames(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(n.client, 0)
	s := &names{
		services: factory.Core().V1().Services().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
	}
	factory.Start(ctx.Done())
	for what, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("filling the cache of %v: %w", what, context.Cause(ctx))
		}
	}
	addr := netip.AddrPortFrom(n.net.node, 53).String()
	packets, err := new(net.ListenConfig).ListenPacket(ctx, "udp", addr)
	if err != nil {
		return fmt.Errorf("listening for names: %w", err)
	}
	streams, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.Join(fmt.Errorf("listening for names: %w", err), packets.Close())
	}
	n.parts.Go(func() { slog.Error("serving names ended", "error", s.servePackets(packets)) })
	n.parts.Go(func() { slog.Error("serving names ended", "error", s.serveStreams(streams)) })
	return nil
}

func (s *names) servePackets(conn net.PacketConn) error {
	buf := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if answer, err := s.answer(buf[:size], 512); err == nil {
			_, _ = conn.WriteTo(answer, from) // the client asks again
		}
	}
}

func (s *names) serveStreams(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for err := error(nil); err == nil; {
				err = s.serveStream(conn)
			}
		}()
	}
}

// serveStream answers one question: uint16 length, then the message.
func (s *names) serveStream(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	query := make([]byte, int(size[0])<<8|int(size[1]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return err
	}
	answer, err := s.answer(query, 1<<16-1)
	if err != nil {
		return err
	}
	_, err = conn.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...))
	return err
}

// answer answers a message, cut if it would be longer than most bytes. It fails
// for what is no question.
func (s *names) answer(query []byte, most int) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	addrs, code := s.lookup(strings.ToLower(q.Name.String()))
	reply := dnsmessage.Header{
		ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RCode: code,
	}
	b, err := build(reply, q, addrs)
	if err == nil && len(b) > most {
		reply.Truncated = true // the client asks again by TCP
		b, err = build(reply, q, nil)
	}
	return b, err
}

func build(h dnsmessage.Header, q dnsmessage.Question, addrs []netip.Addr) ([]byte, error) {
	b := dnsmessage.NewBuilder(nil, h)
	b.EnableCompression()
	errs := []error{b.StartQuestions(), b.Question(q), b.StartAnswers()}
	for _, a := range addrs {
		if q.Type != dnsmessage.TypeA || !a.Is4() {
			continue
		}
		resource := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 2}
		errs = append(errs, b.AResource(resource, dnsmessage.AResource{A: a.As4()}))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return b.Finish()
}

// lookup returns the addresses of a name.
func (s *names) lookup(name string) ([]netip.Addr, dnsmessage.RCode) {
	if !strings.HasSuffix("."+name, ".cluster.local.") {
		return nil, dnsmessage.RCodeRefused
	}
	service, ours := strings.CutSuffix(name, "."+zone)
	label, namespace, two := strings.Cut(service, ".")
	if !ours || !two || strings.Contains(namespace, ".") {
		return nil, dnsmessage.RCodeNameError
	}
	svc, err := s.services.Services(namespace).Get(label)
	if err != nil {
		return nil, dnsmessage.RCodeNameError
	}
	if ip, err := netip.ParseAddr(svc.Spec.ClusterIP); err == nil {
		return []netip.Addr{ip}, dnsmessage.RCodeSuccess
	}
	return s.endpoints(svc), dnsmessage.RCodeSuccess
}

// endpoints returns the addresses of the ready pods of a headless service.
func (s *names) endpoints(svc *corev1.Service) []netip.Addr {
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: svc.Name})
	slices, err := s.slices.EndpointSlices(svc.Namespace).List(selector)
	if err != nil {
		return nil
	}
	var addrs []netip.Addr
	for _, slice := range slices {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready && !svc.Spec.PublishNotReadyAddresses {
				continue
			}
			for _, a := range e.Addresses {
				if addr, err := netip.ParseAddr(a); err == nil {
					addrs = append(addrs, addr)
				}
			}
		}
	}
	return addrs
}
