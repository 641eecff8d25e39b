package parts

import (
	"bytes"
	"sync"
)

// toldOutput is how much of a program's output, in bytes, a failed test tells.
const toldOutput = 16 << 10

// Output keeps what a program writes. The zero value is ready for use, by any
// goroutine: a program that still runs writes while a test reads.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns what was written until now.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// end returns as much of the last as a failed test tells.
func (o *Output) end() string {
	text := o.String()
	return text[max(0, len(text)-toldOutput):]
}
