package parts

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// ShortDir returns a new folder with a path that is short enough for Unix sockets in
// it, unlike that of t.TempDir. It is removed with the test.
func ShortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "podway-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// EdgeHome is the environment of an edge that keeps everything in dir and lets only
// [AdminClient] ask it.
func EdgeHome(dir string) []string {
	return []string{
		"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir, // Caddy's own
		"PODWAY_EDGE_ADMIN=unix/" + filepath.Join(dir, adminSocket) + "|0600",
	}
}

const adminSocket = "admin.sock"

// AdminClient asks the admin API of the edge that keeps its files in dir, at any
// host: http://edge/podway/status.
func AdminClient(dir string) *http.Client { return UnixClient(filepath.Join(dir, adminSocket)) }

// UnixClient is an HTTP client of a Unix socket. It keeps no connection open.
func UnixClient(socket string) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}
