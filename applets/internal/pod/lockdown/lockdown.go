// Package lockdown closes kdiag's own processes in a pod to the processes beside them: they cannot
// be traced, and they hold no right that they do not use.
package lockdown
