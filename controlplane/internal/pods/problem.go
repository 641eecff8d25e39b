package pods

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds the messages of one error: a body of 1 MiB can hold
// 100,000 mistakes.
const maxProblems = 50

// rootLoc is the location of a rule about the whole object.
const rootLoc = "__root__"

// loc is where a problem was found. The messages of a request start with it:
// "body, networking, default, port: ...".
type loc []string

// at returns a location.
func at(parts ...string) loc { return parts }

// in returns the location of a part of l. l is not changed.
func (l loc) in(parts ...string) loc { return append(slices.Clip(l), parts...) }

// String returns the parts joined by ", ".
func (l loc) String() string {
	parts := make([]string, 0, len(l))
	for _, s := range l {
		parts = append(parts, clip(s))
	}
	return strings.Join(parts, ", ")
}

// problems collects what is wrong with a request. The zero value is ready.
type problems struct {
	list []problem
	more int // that were counted only
}

type problem struct {
	stage int // body shape, then rules of a field, then rules of the object
	loc   string
	text  string
}

// add notes a problem. The format and what follows make the text.
func (p *problems) add(l loc, format string, args ...any) {
	if len(p.list) == maxKept {
		p.more++
		return
	}
	stage := 1
	switch l[0] {
	case bodyLoc:
		stage = 0
	case rootLoc:
		stage = 2
	}
	p.list = append(p.list, problem{stage: stage, loc: l.String(), text: fmt.Sprintf(format, args...)})
}

// err returns nil if there is no problem, else an [*Error] with code Invalid and
// a message for each, sorted by stage and location.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(a.loc, b.loc), cmp.Compare(a.text, b.text))
	})
	e := &Error{Code: Invalid}
	for _, x := range p.list[:min(len(p.list), maxProblems)] {
		e.Messages = append(e.Messages, x.loc+": "+x.text)
	}
	if more := len(p.list) + p.more - maxProblems; more > 0 {
		e.Messages = append(e.Messages, fmt.Sprintf("%s: %d more problems", rootLoc, more))
	}
	return e
}

// maxKept bounds the problems that are kept to be sorted.
const maxKept = 20 * maxProblems

// maxShown bounds what a message repeats of the request.
const maxShown = 128

// clip shortens s for a message.
func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "..."
}

// quoteList renders a list as the messages show it: ['a', 'b'].
func quoteList[S ~string](list []S) string {
	quoted := make([]string, 0, len(list))
	for _, s := range list {
		quoted = append(quoted, "'"+clip(string(s))+"'")
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
