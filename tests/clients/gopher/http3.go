package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/quic-go/quic-go/http3"
)

func throughHTTP3(ctx context.Context, address, word string) (string, error) {
	tr := new(http3.Transport)
	defer tr.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(word))
	if err != nil {
		return "", err
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.ProtoMajor != 3 || res.StatusCode != http.StatusOK) {
		err = fmt.Errorf("got %s and %s", res.Proto, res.Status)
	}
	return string(body), err
}
