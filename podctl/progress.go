package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress is a line on the terminal that shows how far a transfer has come. If
// standard error is no terminal it shows nothing.
type progress struct {
	out   io.Writer
	name  string
	total int64 // bytes; below 0: not known
	now   func() time.Time

	done           int64
	started, drawn time.Time
	ended          bool
}

// drawEvery is the time between two pictures of the line.
const drawEvery = 100 * time.Millisecond

func (c *cli) newProgress(name string, total int64) *progress {
	out := c.err
	if _, ok := terminal(c.err); !ok {
		out = io.Discard
	}
	return startProgress(out, name, total, time.Now)
}

func startProgress(out io.Writer, name string, total int64, now func() time.Time) *progress {
	return &progress{out: out, name: plain(name), total: total, now: now, started: now()}
}

// reader returns r, counted.
func (p *progress) reader(r io.Reader) io.Reader { return progressReader{p, r} }

type progressReader struct {
	*progress

	r io.Reader
}

// Read reads and draws.
func (r progressReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.done += int64(n)
	if now := r.now(); now.Sub(r.drawn) >= drawEvery {
		r.drawn = now
		r.draw()
	}
	return n, err
}

// end draws for the last time. More calls do nothing.
func (p *progress) end() {
	if p.ended {
		return
	}
	p.ended = true
	p.draw()
	fmt.Fprintln(p.out)
}

const barWidth = 24

func (p *progress) draw() {
	rate := ""
	if seconds := p.now().Sub(p.started).Seconds(); seconds > 0.5 {
		rate = "  " + bytesText(int64(float64(p.done)/seconds)) + "/s"
	}
	if p.total < 0 {
		fmt.Fprintf(p.out, "\r\x1b[K%s  %s%s", p.name, bytesText(p.done), rate)
		return
	}
	part := 1.0
	if p.total > 0 {
		part = min(1, float64(p.done)/float64(p.total))
	}
	full := int(part * barWidth)
	bar := strings.Repeat("#", full) + strings.Repeat(".", barWidth-full)
	fmt.Fprintf(p.out, "\r\x1b[K%s  [%s] %3.0f%%  %s of %s%s", p.name, bar, part*100, bytesText(p.done), bytesText(p.total), rate)
}

// bytesText writes a size for people.
func bytesText(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/step, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if value < step {
			break
		}
		value, unit = value/step, next
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
