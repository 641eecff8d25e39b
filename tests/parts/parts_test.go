package parts

import (
	"net"
	"testing"
)

func TestServersStartAndStop(t *testing.T) {
	r := StartRedis(t)
	r.Kill()
	if c, err := net.Dial("tcp", r.Addr); err == nil {
		c.Close()
		t.Fatal("redis still answers after Kill")
	}
	r.Start()
	if p := StartPostgres(t); p.Port == 0 {
		t.Fatal("no port")
	}
}
