package pgtest

import "syscall"

// endWithParent ends the server at once when the test binary ends without having closed it, as it does at a test's timeout.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
