// Package integration tests the built binary on a real cluster: the one that
// "make cluster" starts, or any other that KUBECONFIG and KDIAG_TEST_IMAGE
// name. Each file follows one journey: something that a user sets out to do.
package integration
