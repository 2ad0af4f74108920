package applets

import (
	"fmt"
	"runtime"
	"strings"
)

// CommandName is the applet's name, after that of the applet it is part of, as in
// "image save".
func (inv *Invocation) CommandName() string {
	return strings.TrimPrefix(strings.TrimPrefix(inv.Path, "kubectl "), "kdiag ")
}

// UserAgent is what servers are told of who asks: "kdiag/VERSION (os/arch)
// COMMAND".
func (inv *Invocation) UserAgent() string {
	return fmt.Sprintf("kdiag/%s (%s/%s) %s", inv.Build.Version, runtime.GOOS, runtime.GOARCH, inv.CommandName())
}
