package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echo is a service with a unary and a streaming method that answer what they
// are told. It is described by hand, so that nothing has to be generated.
var echo = grpc.ServiceDesc{
	ServiceName: "podway.Echo",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}},
	Streams:     []grpc.StreamDesc{{StreamName: "Stream", Handler: stream, ServerStreams: true, ClientStreams: true}},
}

// trailer is the name of metadata that comes after the answer.
const trailer = "podway-trailer"

//nolint:revive // the order of the arguments is that of grpc.MethodHandler
func unary(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	word := new(wrapperspb.StringValue)
	if err := decode(word); err != nil {
		return nil, err
	}
	return word, grpc.SetTrailer(ctx, metadata.Pairs(trailer, word.Value))
}

func stream(_ any, s grpc.ServerStream) error {
	for {
		word := new(wrapperspb.StringValue)
		if err := s.RecvMsg(word); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.SendMsg(word); err != nil {
			return err
		}
	}
}

// serveGRPC serves without TLS, as pods do, on a free port that it prints. It
// ends with its standard input.
func serveGRPC() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&echo, nil)
	fmt.Println(ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		s.Stop()
	}()
	return s.Serve(ln)
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(nil)))
}

func throughUnary(ctx context.Context, address, word string) (string, error) {
	c, err := dial(address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	read, after := new(wrapperspb.StringValue), metadata.MD{}
	if err := c.Invoke(ctx, "/podway.Echo/Unary", wrapperspb.String(word), read, grpc.Trailer(&after)); err != nil {
		return "", err
	}
	if got := after.Get(trailer); len(got) != 1 || got[0] != word {
		return "", fmt.Errorf("got the trailer %q", got)
	}
	// An error of the pod has to come through as it is.
	if err := c.Invoke(ctx, "/podway.Echo/None", wrapperspb.String(word), read); status.Code(err).String() != "Unimplemented" {
		return "", fmt.Errorf("calling no method: got %w", err)
	}
	return read.Value, nil
}

func throughStream(ctx context.Context, address, word string) (string, error) {
	c, err := dial(address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	s, err := c.NewStream(ctx, &echo.Streams[0], "/podway.Echo/Stream")
	if err != nil {
		return "", err
	}
	read := new(wrapperspb.StringValue)
	for range 3 { // each answer comes before the next question
		if err := s.SendMsg(wrapperspb.String(word)); err != nil {
			return "", err
		}
		if err := s.RecvMsg(read); err != nil {
			return "", err
		}
	}
	if err := s.CloseSend(); err != nil {
		return "", err
	}
	if err := s.RecvMsg(new(wrapperspb.StringValue)); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("ending the stream: got %w", err)
	}
	return read.Value, nil
}
