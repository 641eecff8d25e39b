package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var concurrentTests = []test{
	{"users and the reconciler never lose each other's writes", usersAndReconciler},
	{"one of several creators of a pod wins, the others get Exists", func(s *suite) {
		const n = 8
		var won atomic.Int32
		var winner atomic.Value
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				p := newPod("web")
				p.UID = strconv.Itoa(i)
				err := s.CreatePod(s.Context(), p, newCredentials(pods.ID(p.UID)), event("created by "+p.UID))
				switch pods.ErrorCode(err) {
				case "":
					won.Add(1)
					winner.Store(p.UID)
				case pods.Exists:
				default:
					s.Errorf("got %v, want nothing or exists", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			s.Fatalf("got %d winners, want 1", won.Load())
		}
		uid := winner.Load().(string)
		wantEqual(s, "uid", s.read(key("web")).UID, uid)
		s.wantTexts(key("web"), "created by "+uid)
		got, err := s.Credentials(s.Context(), key("web"))
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "credentials", got, newCredentials(pods.ID(uid)))
	}},
	{"one of several updates of one version wins, the others get Conflict", func(s *suite) {
		const n = 8
		p := s.create("web")
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				mine := p
				mine.Permissions = pods.Permissions{fmt.Sprint("user", i): pods.LevelAdmin}
				mine.Definition.Description = pods.Set(fmt.Sprint("user", i))
				switch _, err := s.UpdatePod(s.Context(), mine, event(fmt.Sprint("user", i))); pods.ErrorCode(err) {
				case "":
					won.Add(1)
				case pods.Conflict:
				default:
					s.Errorf("got %v, want nothing or conflict", err)
				}
			})
		}
		wg.Wait()
		got := s.read(p.Key)
		who := got.Definition.Description.Or("")
		if won.Load() != 1 || got.Version != 2 {
			s.Fatalf("got %d winners and version %d, want 1 and 2", won.Load(), got.Version)
		}
		wantEqual(s, "permissions", got.Permissions, pods.Permissions{who: pods.LevelAdmin})
		s.wantTexts(p.Key, "created", who)
	}},
	{"a reader sees each write whole", func(s *suite) {
		p := s.create("web")
		ctx, cancel := context.WithCancel(s.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			defer cancel()
			for i := range 50 {
				who := strconv.Itoa(i)
				p.Definition.Description = pods.Set(who)
				p.Permissions = pods.Permissions{"ann": pods.LevelAdmin, who: pods.LevelRead}
				p.State.Instance = who
				var err error
				if p, err = s.UpdatePod(s.Context(), p); err != nil {
					s.Errorf("updating: %v", err)
					return
				}
			}
		})
		for range 3 {
			wg.Go(func() {
				for ctx.Err() == nil {
					ps, err := s.Pods(s.Context(), pods.PodQuery{Tenant: tenant})
					if err != nil || len(ps) != 1 {
						s.Errorf("got %d pods, %v, want 1", len(ps), err)
						return
					}
					who := ps[0].Definition.Description.Or("")
					if _, ok := ps[0].Permissions[who]; !ok && who != "first" {
						s.Errorf("description of %s with permissions %v", who, ps[0].Permissions)
						return
					}
				}
			})
		}
		wg.Wait()
	}},
	{"pods that come and go while others write never mix", comeAndGo},
}

// usersAndReconciler counts, in the user's columns and in the state, how often
// each was written, by reading, adding one and writing. A lost write, or a write
// that brings an old value of the other side back, leaves a count too low.
func usersAndReconciler(s *suite) {
	const writers, each = 3, 15
	k := s.create("web", func(p *pods.Pod) { p.Definition.EnvironmentVariables = pods.Set(map[string]string{}) }).Key
	var wg sync.WaitGroup
	for i := range writers {
		user := fmt.Sprint("user", i)
		wg.Go(func() {
			s.repeat(each, func(ctx context.Context, p pods.Pod) error {
				env := maps.Clone(p.Definition.EnvironmentVariables.Or(nil))
				env[user] = increment(env[user])
				p.Definition.EnvironmentVariables = pods.Set(env)
				p.State = pods.State{Status: pods.StatusError} // must not be written
				_, err := s.UpdatePod(ctx, p, event(user+" "+env[user]))
				return err
			}, k)
		})
		wg.Go(func() {
			s.repeat(each, func(ctx context.Context, p pods.Pod) error {
				p.State.Attempts++
				p.Definition = pods.Definition{} // must not be written
				return s.SaveState(ctx, p, true, event(fmt.Sprint("attempt ", p.State.Attempts)))
			}, k)
		})
	}
	wg.Go(func() {
		s.repeat(each, func(ctx context.Context, p pods.Pod) error {
			to := map[pods.Requested]pods.Requested{pods.On: pods.Off, pods.Off: pods.On}[p.Requested]
			return s.SetRequested(ctx, k, p.UID, p.Requested, to)
		}, k)
	})
	wg.Wait()

	p := s.read(k)
	env := p.Definition.EnvironmentVariables.Or(nil)
	for i := range writers {
		if got := env[fmt.Sprint("user", i)]; got != strconv.Itoa(each) {
			s.Errorf("got %q writes of user %d, want %d", got, i, each)
		}
	}
	if p.State.Attempts != writers*each || p.State.Version != 1+writers*each {
		s.Errorf("got %d attempts at state version %d, want %d and one more", p.State.Attempts, p.State.Version, writers*each)
	}
	if want := int64(1 + writers*each + each); p.Version != want {
		s.Errorf("got version %d, want %d", p.Version, want)
	}
	texts := s.texts(k)
	slices.Sort(texts)
	if n := len(slices.Compact(texts)); n != 1+2*writers*each {
		s.Errorf("got %d different events, want %d", n, 1+2*writers*each)
	}
}

// repeat reads a pod and calls f with it, again after a Conflict, until f has
// succeeded n times.
func (s *suite) repeat(n int, f func(ctx context.Context, p pods.Pod) error, k pods.Key) {
	for done := 0; done < n; {
		p, err := s.Pod(s.Context(), k)
		if err == nil {
			err = f(s.Context(), p)
		}
		switch pods.ErrorCode(err) {
		case "":
			done++
		case pods.Conflict:
		default:
			s.Errorf("got %v, want nothing or conflict", err)
			return
		}
	}
}

func increment(n string) string {
	i, _ := strconv.Atoi(n)
	return strconv.Itoa(i + 1)
}

// comeAndGo creates and deletes a pod of one key over and over, each with a uid
// of its own, while writers write to whatever pod they read. What they wrote
// must be at the pod they meant or nowhere.
func comeAndGo(s *suite) {
	const lives = 25
	k := key("web")
	ctx, cancel := context.WithCancel(s.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for i := range lives {
			p := newPod(k.ID)
			p.UID = fmt.Sprint("uid", i)
			if err := s.CreatePod(s.Context(), p, newCredentials(k.ID), event("created "+p.UID)); err != nil {
				s.Errorf("creating: %v", err)
				return
			}
			s.checkEvents(k, p.UID)
			if err := s.DeletePod(s.Context(), k); err != nil {
				s.Errorf("deleting: %v", err)
				return
			}
		}
	})
	for _, c := range []call{
		{"UpdatePod", func(ctx context.Context, st pods.Store, p pods.Pod) error {
			_, err := st.UpdatePod(ctx, p, event("updated "+p.UID))
			return err
		}},
		{"SaveState", func(ctx context.Context, st pods.Store, p pods.Pod) error {
			return st.SaveState(ctx, p, false, event("saved "+p.UID))
		}},
		{"SaveLogs", func(ctx context.Context, st pods.Store, p pods.Pod) error {
			return st.SaveLogs(ctx, k, p.UID, []byte(p.UID))
		}},
	} {
		wg.Go(func() {
			for ctx.Err() == nil {
				p, err := s.Pod(s.Context(), k)
				if err == nil {
					err = c.do(s.Context(), s.Store, p)
				}
				if code := pods.ErrorCode(err); code != "" && code != pods.NotFound && code != pods.Conflict {
					s.Errorf("%s: got %v, want nothing, not found or conflict", c.name, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// checkEvents fails the test unless every event of a pod names uid.
func (s *suite) checkEvents(k pods.Key, uid string) {
	es, err := s.Events(s.Context(), k)
	if err != nil {
		s.Errorf("reading events: %v", err)
	}
	for _, e := range es {
		var what, who string
		if _, err := fmt.Sscan(e.Text, &what, &who); err != nil || who != uid {
			s.Errorf("got event %q at the pod %s", e.Text, uid)
		}
	}
}
