package harness

import "syscall"

// dieWithParent makes the kernel end a child when the test binary ends in a way that runs no cleanup, such as a panic
// after its time limit.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
