// Package reconcile brings pods from what the cluster shows to what their users
// want, and publishes the routes that follow from both.
//
//	r := reconcile.New(reconcile.Deps{
//		Store: store, Cluster: cluster, Routes: publisher, Tenants: identity,
//		Pods: settings, AfterFullPass: publisher.Complete,
//	})
//	go r.Run(ctx)
//	r.Enqueue(key)  // the API, after it wrote or deleted a pod
//	r.EnqueueAll()  // the publisher, when its Redis lost the routes
//
// # One pass over one pod
//
// The reconciler is level-triggered: a pass reads everything again, takes the
// step that [Settings.next] names, and does not know which event asked for it.
// Events (calls of Enqueue, the cluster's watch, timers) only make a pass happen
// sooner; a full pass over everything runs now and then and finds what no event
// told. A pass
//
//  1. reads the pod from the store, resolves its definition and looks at what
//     the cluster shows of it;
//  2. asks next, which is pure, for the step to take;
//  3. writes the new state, with its lines of the action log, in one transaction;
//  4. publishes the pod's routes, so that edges close what they have to close
//     before anything behind them goes away;
//  5. keeps the container's output, if that is about to be lost;
//  6. calls the cluster.
//
// Every step can be repeated, so a crash between two of them costs nothing but
// the time to the next pass.
//
// What does not answer stops only what needs it. Without the store everything
// stays as it is; without Redis pods start, and stop a little later (see
// [Settings.WithdrawFor]); without the cluster, starts and stops wait. A cluster
// has to tell "does not answer" from "nothing there": an adapter whose cache is
// not filled yet answers Observe with an error of code Unavailable, and Apply
// with that code, too, whenever it is not this pod that is at fault.
//
// # The life of a pod
//
// While the user wants it ON:
//
//	            start             accepted            runs
//	REQUESTED ─────────► SPAWNER SETUP ────► CREATING ──────► AVAILABLE
//	    ▲                     │                  │                │
//	    │                     │ refused          ├────────────────┤
//	    │                     ▼                  │ gone           │ ended, or waits for
//	    │                 DELETING               │                │ what will not come
//	    │                     │ removed          │                ▼
//	    └───────────────── STOPPED ◄─────────────┘        COMPLETE or ERROR
//
// It is ERROR, too, when no attempt to start it is left (from DELETING, CREATING
// and AVAILABLE), when its definition is not usable (from REQUESTED and SPAWNER
// SETUP), and when its name in the cluster is taken by something else.
//
// COMPLETE and ERROR stay until the user stops or restarts the pod: a container
// that ended is not started again, one that vanished is. An ERROR heals in one
// case only: the container runs after all, for example because its image could
// be pulled at last.
//
// While the user wants it OFF, or to RESTART:
//
//	any other ────► DELETING ────► STOPPED, where RESTART becomes ON
//	                         gone
package reconcile
