// Package kit gives the tests on a real cluster what they share: the cluster
// and the user they act as, namespaces and pods, runs of kdiag without and on a
// terminal, what stands in between (proxies, webhooks), and waiting.
package kit
