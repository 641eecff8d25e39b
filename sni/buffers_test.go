package sni

import (
	"slices"
	"testing"
)

func TestBuffersAreGivenBack(t *testing.T) {
	const least, most = 64, 1024
	f := newFreeList(bufferSize, least, most)
	var lent [][]byte
	for range most {
		lent = append(lent, f.get())
	}
	for i, b := range lent {
		f.put(b)
		if keep := 2*(len(lent)-i-1) + least; i < most/4 && len(f.free) != min(i+1, keep) {
			t.Fatalf("got %d free of %d, want them kept while others are lent", len(f.free), i+1)
		}
	}
	if n := len(f.free); n > least {
		t.Errorf("got %d free when none is lent, want %d at most", n, least)
	}
	f.put(make([]byte, 10)) // not one of ours
	if n := f.lent.Load(); n != 0 {
		t.Errorf("got %d lent, want none", n)
	}
}

func TestBuffersGrowWithWhatComes(t *testing.T) {
	l := new(link)
	grow := func(p *pump) (sizes []int) {
		from := firsts
		b := from.get()
		for range 4 {
			sizes = append(sizes, len(b))
			from, b = p.larger(from, b)
		}
		from.put(b)
		return sizes
	}
	l.toClient.link, l.toUpstream.link = l, l
	if got, want := grow(&l.toUpstream), []int{firstSize, bufferSize, bufferSize, bufferSize}; !slices.Equal(got, want) {
		t.Errorf("to the pod: got %v, want %v", got, want)
	}
	if got, want := grow(&l.toClient), []int{firstSize, bufferSize, streamSize, streamSize}; !slices.Equal(got, want) {
		t.Errorf("to the client: got %v, want %v", got, want)
	}
	var lent [][]byte
	for !streams.exhausted() {
		lent = append(lent, streams.get())
	}
	if got, want := grow(&l.toClient), []int{firstSize, bufferSize, bufferSize, bufferSize}; !slices.Equal(got, want) {
		t.Errorf("with all lent: got %v, want %v", got, want)
	}
	for _, b := range lent {
		streams.put(b)
	}
}
