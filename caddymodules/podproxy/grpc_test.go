package podproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tapis-project/podway/routes"
)

// echoService is a gRPC service with one call of each kind. It has no generated
// code, so that nothing has to be generated.
var echoService = grpc.ServiceDesc{
	ServiceName: "test.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "One", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := dec(in); err != nil {
			return nil, err
		}
		if in.Value == "fail" {
			return nil, status.Error(codes.FailedPrecondition, "as you wish")
		}
		md, _ := metadata.FromIncomingContext(ctx)
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-sum", "42"))
		return wrapperspb.String(fmt.Sprint(in.Value, md["x-tapis-user"], md["x-forwarded-for"])), nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Many", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		for {
			in := new(wrapperspb.StringValue)
			if err := s.RecvMsg(in); err != nil {
				return nil // the client has sent all
			}
			if err := s.SendMsg(wrapperspb.String("echo " + in.Value)); err != nil {
				return err
			}
		}
	}}},
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	srv.RegisterService(&echoService, struct{}{})
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	s := serve(t, web(l.Addr().String()))
	cfg := s.tls()
	cfg.ServerName, cfg.InsecureSkipVerify = host, true // the certificate is that of the test server
	conn, err := grpc.NewClient("passthrough:///"+s.server.Listener.Addr().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-tapis-user", "root")
	out, trailer := new(wrapperspb.StringValue), metadata.MD{}
	if err := conn.Invoke(ctx, "/test.Echo/One", wrapperspb.String("hello"), out, grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if want := "hello[] [127.0.0.1]"; out.Value != want || len(trailer["x-sum"]) != 1 {
		t.Errorf("got %q, trailers %v, want %q", out.Value, trailer, want)
	}
	err = conn.Invoke(ctx, "/test.Echo/One", wrapperspb.String("fail"), out)
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "as you wish") {
		t.Errorf("got %v, want the pod's own status", err)
	}
	// A refusal is one frame of headers that ends the stream: it has no trailers, so
	// nothing may come between.
	for range 2000 {
		if err := conn.Invoke(ctx, "/test.Echo/None", wrapperspb.String("hello"), out); status.Code(err) != codes.Unimplemented {
			t.Fatalf("a method the pod has not: got %v, want Unimplemented", err)
		}
	}
	stream, err := conn.NewStream(ctx, &echoService.Streams[0], "/test.Echo/Many")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 { // each is answered before the next is sent
		if err := stream.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(out); err != nil || out.Value != fmt.Sprint("echo ", i) {
			t.Fatalf("got %q, %v", out.Value, err)
		}
	}
	stopped := web("127.0.0.1:1")
	stopped.State, stopped.Upstreams, stopped.Instance, stopped.Version = routes.Stopped, nil, "", 9
	e, err := routes.Compile(stopped)
	if err != nil {
		t.Fatal(err)
	}
	s.edge.table.Set(e)
	if err := stream.RecvMsg(out); err == nil {
		t.Error("the stream goes on although its route has ended")
	}
	if err := conn.Invoke(ctx, "/test.Echo/One", wrapperspb.String("hello"), out); status.Code(err) != codes.Unavailable {
		t.Errorf("a stopped pod: got %v, want Unavailable", err)
	}
}

func TestOnlyGRPCGoesOverHTTP2(t *testing.T) {
	for _, tt := range []struct {
		contentType string
		major       int
		want        bool
	}{
		{"application/grpc", 2, true},
		{"application/grpc+proto", 2, true},
		{"application/grpc; x=y", 3, true},
		{"application/grpc", 1, false},
		{"application/grpc-web", 2, false},
		{"application/json", 2, false},
		{"", 2, false},
	} {
		r := &http.Request{ProtoMajor: tt.major, Header: http.Header{"Content-Type": {tt.contentType}}, Body: io.NopCloser(strings.NewReader(""))}
		if got := isGRPC(r); got != tt.want {
			t.Errorf("%q over HTTP/%d: got %v, want %v", tt.contentType, tt.major, got, tt.want)
		}
	}
}
