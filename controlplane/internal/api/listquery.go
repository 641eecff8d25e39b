package api

import (
	"slices"
	"strings"
)

// Limits of a list, if the client asks for a page of it.
const (
	maxPage   = 500 // entries on a page
	maxOffset = 1 << 30
)

// listQuery is what a client asks of a list. Its parameters limit, offset and
// search are optional: without them a list is whole.
type listQuery struct {
	limit, offset int // limit 0: no limit
	search        string
}

// listQuery reads what the client asks of a list.
func (r *request) listQuery() (listQuery, error) {
	limit, err := r.queryInt("limit", 1, maxPage)
	if err != nil {
		return listQuery{}, err
	}
	offset, err := r.queryInt("offset", 0, maxOffset)
	if err != nil {
		return listQuery{}, err
	}
	return listQuery{limit: limit, offset: offset, search: strings.ToLower(r.URL.Query().Get("search"))}, nil
}

// storePage is the page that the store can make, limit 0 for all, and what is left
// to do for [pageOf].
func (q listQuery) storePage() (limit, offset int, left listQuery) {
	if q.limit == 0 || q.search != "" {
		return 0, 0, q
	}
	return q.limit, q.offset, listQuery{limit: q.limit}
}

// storeLimit is how many entries of the store a page needs; 0 for all.
func (q listQuery) storeLimit() int {
	if q.limit == 0 || q.search != "" {
		return 0
	}
	return q.offset + q.limit
}

// pageOf cuts the page out of the entries that the caller may see. texts returns
// what is searched in an entry.
func pageOf[T any](q listQuery, list []T, texts func(T) []string) []T {
	if q.search != "" {
		list = slices.DeleteFunc(list, func(entry T) bool { return !matches(q.search, texts(entry)) })
	}
	list = list[min(q.offset, len(list)):]
	if q.limit > 0 {
		list = list[:min(q.limit, len(list))]
	}
	return list
}

// matches reports whether a word stands in one of some texts, in whatever case.
func matches(word string, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), word) })
}
