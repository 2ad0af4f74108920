// Command cluster runs a real Kubernetes of one node on this machine: etcd, the control plane, containerd and a kubelet, as
// plain processes. The node has a network namespace of its own, so that it is another host than the one it runs on.
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

  build [--runtime R] build the programs, as up does first
  up [--runtime R]    start the cluster; do nothing if it is up on that runtime
  down                stop it, and leave nothing behind
  status              one line for each component, one for the runtime
  start NAME          start a component again
  stop [--kill] NAME  stop a component (SIGTERM, or SIGKILL at once)
  load FILE...        import image archives into the node

DIR holds the cluster's state (default: $KDIAG_CLUSTER_DIR, else .cluster in the project's root).
R is debian, the default: the machine's own containerd and runc; or containerd2: ` + containerdVersion + ` and runc ` + runcVersion + `, built.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errUsage has been explained to the user already.
var errUsage = errors.New("wrong usage")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout, stderr)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(stderr, "cluster:", err)
	return 1
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	dir := flags.String("dir", os.Getenv("KDIAG_CLUSTER_DIR"), "")
	if err := parse(flags, args); err != nil {
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

	if err := parse(sub, args[1:]); err != nil {
		return err
	}

	runtime, err := runtimeNamed(runtimeName)
	if err != nil {
		fmt.Fprintln(stderr, "cluster:", err)
		return errUsage
	}

	switch n := sub.NArg(); {
	case command == "build" && n == 0:
		return locked(ctx, c, func(ctx context.Context) error { return c.build(ctx, runtime) })
	case command == "up" && n == 0:
		return locked(ctx, c, func(ctx context.Context) error { return c.up(ctx, runtime) })
	case command == "down" && n == 0:
		return locked(ctx, c, c.down)
	case command == "status" && n == 0:
		return c.status(ctx)
	case command == "start" && n == 1:
		return locked(ctx, c, func(ctx context.Context) error { return c.start(ctx, sub.Arg(0)) })
	case command == "stop" && n == 1:
		return locked(ctx, c, func(ctx context.Context) error { return c.stop(ctx, sub.Arg(0), kill) })
	case command == "load" && n > 0:
		return c.load(ctx, sub.Args())
	}

	flags.Usage()
	return errUsage
}

// parse tells a wrong flag, which the flag package has explained, from a wish for help.
func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return errUsage
	}
	return err
}

func locked(ctx context.Context, c *cluster, f func(context.Context) error) error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster needs root: it makes namespaces, mounts and cgroups")
	}
	unlock, err := lock(ctx, lockName, func() { fmt.Fprintln(c.out, "waiting for another cluster command to end") })
	if err != nil {
		return err
	}
	defer unlock()
	return f(ctx)
}

// newCluster gives the cluster whose state is in dir, or in the project's .cluster.
func newCluster(dir string, out io.Writer) (*cluster, error) {
	if dir == "" {
		root, err := projectRoot()
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
		return nil, fmt.Errorf("--dir %s: too long a path for the sockets in it by %d bytes", dir, n-107)
	}

	return &cluster{dir: dir, out: out}, nil
}
