// Package credentials changes the credentials of kdiag's processes in a pod, of one thread or of
// all, and explains by the kernel's rules what they are good for.
package credentials
