//go:build !unix

package redir

import "context"

// pauseOnStop does nothing: there is no Ctrl-Z.
func (f *follower) pauseOnStop(context.Context) (stop func()) { return func() {} }
