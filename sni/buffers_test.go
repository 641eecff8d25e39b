package sni

import "testing"

func TestBuffersAreGivenBack(t *testing.T) {
	f := &freeList{free: make(chan *[bufferSize]byte, maxFree)}
	var lent [][]byte
	for range maxFree {
		lent = append(lent, f.get())
	}
	for i, b := range lent {
		f.put(b)
		if most := 2*(len(lent)-i-1) + minFree; i < maxFree/4 && len(f.free) != min(i+1, most) {
			t.Fatalf("got %d free of %d, want them kept while others are lent", len(f.free), i+1)
		}
	}
	if n := len(f.free); n > minFree {
		t.Errorf("got %d free when none is lent, want %d at most", n, minFree)
	}
	f.put(make([]byte, 10)) // not one of ours
	if n := f.lent.Load(); n != 0 {
		t.Errorf("got %d lent, want none", n)
	}
}
