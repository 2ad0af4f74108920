// Package lastuse lets a session in kdiag's container be known to the manager in it, however short
// the session was: a look at the processes every few seconds would miss most commands.
package lastuse
