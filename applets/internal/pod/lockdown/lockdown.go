// Package lockdown protects kdiag's own processes in a pod from the processes beside them: they
// cannot be traced, and they hold no right that they do not use.
package lockdown
