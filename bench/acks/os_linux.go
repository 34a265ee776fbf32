package acks

import "syscall"

// endWithParent makes the kernel end a process when this one is gone, and
// keeps the terminal's signals from it.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
