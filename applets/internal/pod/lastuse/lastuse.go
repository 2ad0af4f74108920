// Package lastuse lets the manager in kdiag's container know of a session in it, however short
// that was: a look at the processes every few seconds would miss most commands.
package lastuse
