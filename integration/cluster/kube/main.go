// Command kube is etcd and the Kubernetes servers in one binary: linked once, they
// share what they have in common, which is most of them. The name it is called by, or
// the first argument, says which one to be.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // for CronJobs, on a machine without time zones

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// server describes one of them: it is given its name and arguments, and returns
// its exit code.
type server struct {
	name string
	run  func(args []string) int
}

var servers = []server{
	{"etcd", func(args []string) int { etcdmain.Main(args); return 0 }},
	{"kube-apiserver", command(apiserver.NewAPIServerCommand)},
	{"kube-controller-manager", command(controllermanager.NewControllerManagerCommand)},
	{"kube-scheduler", command(func() *cobra.Command { return scheduler.NewSchedulerCommand() })},
	{"kubelet", command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) })},
}

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	// By its own name, then by its first argument.
	for i := range min(2, len(args)) {
		for _, s := range servers {
			if s.name == filepath.Base(args[i]) {
				os.Args = args[i:] // cobra and klog look there
				return s.run(os.Args)
			}
		}
	}

	fmt.Fprint(os.Stderr, "usage: kube SERVER [FLAG...], where SERVER is one of")
	for _, s := range servers {
		fmt.Fprint(os.Stderr, " ", s.name)
	}

	fmt.Fprintln(os.Stderr)
	return 2
}

// command delays the making of a cobra command, which changes process-wide state, until
// it is known to be the one that runs.
func command(newCommand func() *cobra.Command) func([]string) int {
	return func([]string) int { return cli.Run(newCommand()) }
}
