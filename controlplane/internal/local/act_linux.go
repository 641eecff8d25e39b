package local

import (
	"fmt"
	"runtime"
	"syscall"
)

// do runs f with the rights that the account has on files; nil stands for
// ourselves. f must do its work in its own goroutine.
func (a *account) do(f func() error) error {
	if a == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		// The rights are those of the thread, which ends with this goroutine as it is
		// never unlocked.
		runtime.LockOSThread()
		done <- a.become(f)
	}()
	return <-done
}

// become runs f with the file rights of the account on this thread. The C library
// would change all threads, hence the plain system calls.
func (a *account) become(f func() error) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("giving up groups: %w", errno)
	}
	// These two return what was before, and never an error: what counts is asked
	// with an id that can't be set.
	const ask = ^uintptr(0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSGID, uintptr(a.GID), 0, 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(a.UID), 0, 0)
	gid, _, _ := syscall.RawSyscall(syscall.SYS_SETFSGID, ask, 0, 0)
	uid, _, _ := syscall.RawSyscall(syscall.SYS_SETFSUID, ask, 0, 0)
	if uint32(gid) != a.GID || uint32(uid) != a.UID {
		return fmt.Errorf("becoming user %d of group %d: it is %d of %d", a.UID, a.GID, uid, gid)
	}
	return f()
}
