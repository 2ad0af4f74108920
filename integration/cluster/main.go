// Command cluster runs a real Kubernetes of one node on this machine: etcd, the control
// plane, containerd and a kubelet, as plain processes. The node has a network namespace
// of its own, so that it is another host than the one it runs on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

const usage = `usage: cluster [--dir DIR] COMMAND

  build [--runtime R] build the programs, which up does first
  up [--runtime R]    start the cluster, unless it is up on that runtime
  down                stop the cluster and leave nothing behind
  status              print a line for each component, and one for the runtime
  start NAME          start a component that was stopped
  stop [--kill] NAME  stop a component (SIGTERM, or SIGKILL at once)
  load FILE...        import image archives into the node

DIR holds the cluster's state (default: $KDIAG_CLUSTER_DIR, else .cluster in the project's root).
R is debian, the default: the machine's own containerd and runc; or containerd2: ` + containerdVersion + ` and runc ` + runcVersion + `, built.
`

// main runs the command. The first signal cancels it, the second kills.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errUsage stands for a mistake that has been explained to the user already.
var errUsage = errors.New("wrong usage")

// run runs a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := runCommand(ctx, args, stdout, stderr)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(stderr, "cluster:", err)
	return 1
}

// runCommand parses a command line and runs the command.
func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	dir := flags.String("dir", os.Getenv("KDIAG_CLUSTER_DIR"), "")
	if err := parseFlags(flags, args); err != nil {
		return err
	}

	command, args := flags.Arg(0), flags.Args()
	if command == "" {
		flags.Usage()
		return errUsage
	}

	c, err := newCluster(*dir, stdout)
	if err != nil {
		return err
	}

	sub := flag.NewFlagSet("cluster "+command, flag.ContinueOnError)
	sub.SetOutput(stderr)
	sub.Usage = flags.Usage
	kill, runtimeName := false, runtimes[0].name
	switch command {
	case "stop":
		sub.BoolVar(&kill, "kill", false, "")
	case "build", "up":
		sub.StringVar(&runtimeName, "runtime", runtimeName, "")
	}

	if err := parseFlags(sub, args[1:]); err != nil {
		return err
	}

	runtime, err := findRuntime(runtimeName)
	if err != nil {
		fmt.Fprintln(stderr, "cluster:", err)
		return errUsage
	}

	switch n := sub.NArg(); {
	case command == "build" && n == 0:
		return runLocked(ctx, c, func(ctx context.Context) error { return c.buildPrograms(ctx, runtime) })
	case command == "up" && n == 0:
		return runLocked(ctx, c, func(ctx context.Context) error { return c.bringUp(ctx, runtime) })
	case command == "down" && n == 0:
		return runLocked(ctx, c, c.takeDown)
	case command == "status" && n == 0:
		return c.printStatus(ctx)
	case command == "start" && n == 1:
		return runLocked(ctx, c, func(ctx context.Context) error { return c.startComponent(ctx, sub.Arg(0)) })
	case command == "stop" && n == 1:
		return runLocked(ctx, c, func(ctx context.Context) error { return c.stopComponent(ctx, sub.Arg(0), kill) })
	case command == "load" && n > 0:
		return c.loadImages(ctx, sub.Args())
	}

	flags.Usage()
	return errUsage
}

// parseFlags returns errUsage for a wrong flag, which the flag package has explained
// to the user, and flag.ErrHelp for --help.
func parseFlags(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return errUsage
	}
	return err
}

// runLocked runs a function as root while no other cluster command runs.
func runLocked(ctx context.Context, c *cluster, f func(context.Context) error) error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster needs root, for namespaces, mounts and cgroups")
	}
	unlock, err := takeLock(ctx, lockName, func() { fmt.Fprintln(c.out, "waiting for another cluster command to end") })
	if err != nil {
		return err
	}
	defer unlock()
	return f(ctx)
}

// newCluster returns the cluster whose state is in dir, or in the project's
// .cluster.
func newCluster(dir string, out io.Writer) (*cluster, error) {
	if dir == "" {
		root, err := findProjectRoot()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(root, ".cluster")
	}

	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// Sockets lie in it, and sun_path holds 107 bytes (unix(7)).
	if n := len(filepath.Join(dir, "kubelet/pod-resources/kubelet.sock")); n > 107 {
		return nil, fmt.Errorf("--dir %s: the path is %d bytes too long for the sockets in it", dir, n-107)
	}

	return &cluster{dir: dir, out: out}, nil
}
