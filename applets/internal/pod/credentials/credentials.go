// Package credentials changes the credentials of the calling thread, and tells
// by the kernel's rules what they are good for. The caller has locked the
// thread: raw system calls, not package syscall's, which change all threads.
package credentials
