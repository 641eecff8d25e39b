package podway

import "testing"

func TestMemoryIsGivenBackWhenItIsQuietAfterWork(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		name string
		seen []usage
		want []bool
	}{
		{
			"nothing ever happens",
			[]usage{{0, 0}, {mb / 2, 0}, {mb, 0}, {mb, 0}},
			[]bool{false, false, false, false},
		},
		{
			"routes were loaded",
			[]usage{{30 * mb, 0}, {60 * mb, 0}, {60 * mb, 0}, {60 * mb, 0}, {60 * mb, 0}},
			[]bool{false, false, false, true, false},
		},
		{
			"the load goes on",
			[]usage{{30 * mb, 0}, {60 * mb, 0}, {90 * mb, 0}, {120 * mb, 0}},
			[]bool{false, false, false, false},
		},
		{
			"sessions are parked after their memory was given back",
			[]usage{{60 * mb, 0}, {60 * mb, 0}, {60 * mb, 0}, {60 * mb, 4000}, {60 * mb, 4000}, {60 * mb, 4010}, {60 * mb, 4020}},
			[]bool{false, false, true, false, false, true, false},
		},
		{
			"sessions wake up and are parked again",
			[]usage{{0, 600}, {0, 600}, {0, 600}, {0, 50}, {0, 600}, {0, 600}, {0, 600}},
			[]bool{false, false, true, false, false, false, true},
		},
		{
			"a few sessions come and go",
			[]usage{{0, 400}, {0, 300}, {0, 450}, {0, 450}, {0, 450}},
			[]bool{false, false, false, false, false},
		},
		{
			"a little work adds up",
			[]usage{{12 * mb, 0}, {12 * mb, 0}, {24 * mb, 0}, {24 * mb, 0}, {36 * mb, 0}, {36 * mb, 0}, {36 * mb, 0}},
			[]bool{false, false, false, false, false, false, true},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s settler
			for i, u := range c.seen {
				if got := s.due(u); got != c.want[i] {
					t.Errorf("look %d: got %v, want %v", i, got, c.want[i])
				}
			}
		})
	}
}

func TestMeasureSeesAllocations(t *testing.T) {
	before := measure().allocated
	kept := make([]byte, 8<<20)
	if got := measure().allocated - before; got < uint64(len(kept)) {
		t.Errorf("got %d bytes allocated, want at least %d", got, len(kept))
	}
}
