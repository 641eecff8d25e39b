package podway

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni"
)

// DefaultStream is how many records the stream keeps if no number is set.
const DefaultStream = 100000

const (
	// maxRecords bounds the records that wait. Those beyond are dropped and counted:
	// no session waits for a log or for Redis.
	maxRecords = 8192

	// recordBatch is how many records are written at once, at most.
	recordBatch = 256

	// recordTimeout bounds one exchange with Redis.
	recordTimeout = 2 * time.Second
)

// Records says where to note each connection to a TCP route when it has ended, and
// HTTP requests.
type Records struct {
	// Write them to the log, as "connection" at level INFO. Default: false.
	Log bool `json:"log,omitempty"`

	// Add them to the stream podway:{<namespace>}:connections in Redis, which keeps
	// about that many. Default: 0, which adds none.
	Stream int `json:"stream,omitempty"`

	// Note HTTP requests too, each when it is over. Default: false.
	Requests bool `json:"requests,omitempty"`

	// How this edge is called in them. Default: the name of the machine.
	Edge string `json:"edge,omitempty"`
}

// What became of records.
var recordsWritten, recordsDropped atomic.Uint64

// record is a connection with the settings under which it is noted.
type record struct {
	sni.Record
	to Records
}

// recorder writes records, off the way of connections.
type recorder struct {
	stream *redisroutes.ConnectionLog
	log    *currentLog
	queue  chan record
	end    context.CancelFunc
	done   sync.WaitGroup
}

func newRecorder(stream *redisroutes.ConnectionLog, log *currentLog) *recorder {
	return &recorder{stream: stream, log: log, queue: make(chan record, maxRecords), end: func() {}}
}

// run writes records until close is called.
func (r *recorder) run() {
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	r.done.Go(func() {
		for {
			select {
			case first := <-r.queue:
				r.write(r.batch(first))
			case <-ctx.Done():
				r.flush()
				return
			}
		}
	})
}

// close writes what waits, as far as that is quick, and ends run.
func (r *recorder) close() {
	r.end()
	r.done.Wait()
	_ = r.stream.Close() // nothing is written any more
}

// flush writes what waits, until one write fails.
func (r *recorder) flush() {
	for {
		select {
		case first := <-r.queue:
			if !r.write(r.batch(first)) {
				recordsDropped.Add(uint64(len(r.queue)))
				return
			}
		default:
			return
		}
	}
}

// add notes a record, or drops it if too many wait.
func (r *recorder) add(x record) {
	select {
	case r.queue <- x:
	default:
		recordsDropped.Add(1)
	}
}

// batch returns a record and those that wait behind it.
func (r *recorder) batch(first record) []record {
	all := []record{first}
	for len(all) < recordBatch {
		select {
		case x := <-r.queue:
			all = append(all, x)
		default:
			return all
		}
	}
	return all
}

// write writes records to wherever each of them goes. It reports false if Redis
// did not take them.
func (r *recorder) write(batch []record) bool {
	log := r.log.now.Load()
	var entries [][]any
	most := 0
	for _, x := range batch {
		if x.to.Log {
			log.LogAttrs(context.Background(), slog.LevelInfo, "connection", x.attrs()...)
		}
		if x.to.Stream > 0 {
			entries, most = append(entries, x.values()), x.to.Stream
		} else {
			recordsWritten.Add(1)
		}
	}
	if len(entries) == 0 {
		return true
	}
	ctx, stop := context.WithTimeout(context.Background(), recordTimeout)
	defer stop()
	if err := r.stream.Add(ctx, most, entries); err != nil {
		recordsDropped.Add(uint64(len(entries)))
		// The watcher of routes complains about Redis already.
		log.Debug("writing records of connections failed", "error", err)
		return false
	}
	recordsWritten.Add(uint64(len(entries)))
	return true
}

func (x record) attrs() []slog.Attr {
	e := x.Route
	attrs := []slog.Attr{
		slog.String("edge", x.to.Edge), slog.String("host", e.Host), slog.String("tenant", e.Tenant),
		slog.String("pod_id", e.Pod), slog.String("net", e.Net), slog.String("protocol", string(e.Protocol)),
		slog.String("remote", x.Client.String()), slog.Time("since", x.Since), slog.Duration("duration", x.Duration),
		slog.Int64("received", x.Received), slog.Int64("sent", x.Sent), slog.String("result", x.Result),
	}
	if x.Status != 0 {
		attrs = append(attrs, slog.Int("status", x.Status))
	}
	return attrs
}

// values returns the entry of the stream: names and values.
func (x record) values() []any {
	e := x.Route
	values := []any{
		"edge", x.to.Edge, "host", e.Host, "tenant", e.Tenant, "pod", e.Pod, "net", e.Net, "protocol", string(e.Protocol),
		"client", x.Client.Addr().String(), "since", x.Since.UTC().Format(time.RFC3339Nano),
		"duration_ms", strconv.FormatInt(x.Duration.Milliseconds(), 10),
		"received", strconv.FormatInt(x.Received, 10), "sent", strconv.FormatInt(x.Sent, 10), "result", x.Result,
	}
	if x.Status != 0 {
		values = append(values, "status", strconv.Itoa(x.Status))
	}
	return values
}

// Recorder returns what notes connections, nil if nobody wants to know.
func (a *App) Recorder() func(sni.Record) {
	to := a.Records
	if !to.Log && to.Stream <= 0 {
		return nil
	}
	if to.Edge == "" {
		name, _ := os.Hostname() // a name is nice to have
		to.Edge = cmp.Or(name, "edge")
	}
	r := a.store.records
	return func(x sni.Record) { r.add(record{x, to}) }
}

// RequestRecorder returns what notes HTTP requests, nil if nobody wants to know.
func (a *App) RequestRecorder() func(sni.Record) {
	if !a.Records.Requests {
		return nil
	}
	return a.Recorder()
}
