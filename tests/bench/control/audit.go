package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"strconv"
)

// calls counts requests to the API server by what they do, "create pods" for
// example, with the status if it is an error's: "create pods (409)".
type calls map[string]int

func (c calls) total() int {
	n := 0
	for _, k := range c {
		n += k
	}
	return n
}

// since returns what was counted after earlier.
func (c calls) since(earlier calls) calls {
	d := maps.Clone(c)
	for what, n := range earlier {
		if d[what] -= n; d[what] == 0 {
			delete(d, what)
		}
	}
	return d
}

// auditEvent is a line of the audit log, as far as it is needed.
type auditEvent struct {
	Stage     string `json:"stage"`
	Verb      string `json:"verb"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	RequestURI     string `json:"requestURI"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// countCalls counts the requests of an audit log that was begun; there is no file
// before the first request.
func countCalls(path string) (calls, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return calls{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	defer f.Close()
	return readCalls(f)
}

func readCalls(r io.Reader) (calls, error) {
	c := calls{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return c, nil // the rest of a line is being written
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("decoding a line of the audit log: %w", err)
		}
		if e.counts() {
			c[e.what()]++
		}
	}
}

// counts reports whether the event stands for its request. A watch has two: one
// when it begins and one when it ends.
func (e auditEvent) counts() bool { return (e.Stage == "ResponseStarted") == (e.Verb == "watch") }

func (e auditEvent) what() string {
	object := e.ObjectRef.Resource
	switch {
	case object == "":
		object = e.RequestURI
	case e.ObjectRef.Subresource != "":
		object += "/" + e.ObjectRef.Subresource
	}
	if code := e.ResponseStatus.Code; code >= 400 {
		object += " (" + strconv.Itoa(code) + ")"
	}
	return e.Verb + " " + object
}
