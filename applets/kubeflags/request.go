package kubeflags

import (
	"fmt"
	"os"
	"slices"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
)

// ShellFlags lists the flags that ParseShell and Connect read.
func ShellFlags() []cli.Flag {
	profile := applets.OneOf(&cli.StringFlag{Name: "profile", Usage: "How to join the target", Value: string(kube.ProfileAuto)}, kube.Profiles()...)
	return slices.Concat(Target("Container name (default the pod's default container)"), []cli.Flag{profile},
		addedContainer(formatMinutes(wire.PrivilegedIdleTimeout)+" with profile chroot or setns, else "+formatMinutes(wire.DefaultIdleTimeout)), Connection())
}

// NetFlags lists the flags that ParseNet and Connect read.
func NetFlags() []cli.Flag {
	return slices.Concat(Target("Container whose listening ports to redirect, if no port is given"), addedContainer(formatMinutes(wire.DefaultIdleTimeout)), Connection())
}

// CaptureFlags lists the flags that ParseNet and Connect read, for a command that concerns no
// container.
func CaptureFlags() []cli.Flag {
	target := slices.DeleteFunc(Target(""), func(f cli.Flag) bool { return f.Names()[0] == "container" })
	return slices.Concat(target, addedContainer(formatMinutes(wire.DefaultIdleTimeout)), Connection())
}

// PreviewFlags lists the flags that ParsePreview and Connect read; timeout is
// the default of --timeout.
func PreviewFlags(timeout time.Duration) []cli.Flag {
	return slices.Concat([]cli.Flag{
		imageFlag(), pullPolicyFlag(),
		&cli.DurationFlag{Name: "timeout", Usage: "Maximum time for all checks", Value: timeout},
	}, LookFlags())
}

// LookFlags lists the flags of a command that adds nothing: ParseTarget and
// Connect read them.
func LookFlags() []cli.Flag {
	return slices.Concat(Target("Container name (default the pod's default container)"), Connection())
}

// ParseShell reads what a shell container is to be. Every error is a wrong usage.
func ParseShell(inv *applets.Invocation) (containers.Request, error) {
	request, err := parseRequest(inv, inv.Args)
	request.Profile = kube.Profile(inv.Flags.String("profile"))
	return request, err
}

// ParseNet reads what a net container is to be; names are the arguments that may
// name the pod. Every error is a wrong usage.
func ParseNet(inv *applets.Invocation, names []string) (containers.Request, error) {
	return parseRequest(inv, names)
}

// ParsePreview reads what a container would be, for a command that asks the
// cluster about it and adds none. Without a target the request has none. Every
// error is a wrong usage.
func ParsePreview(inv *applets.Invocation) (request containers.Request, err error) {
	if HasTarget(inv) {
		if request.Pod, request.Container, err = ParseTarget(inv, inv.Args); err != nil {
			return request, err
		}
	}

	if request.Timeout = inv.Flags.Duration("timeout"); request.Timeout <= 0 {
		return request, applets.Usage("--timeout must be longer than 0")
	}

	request.Image, request.PullPolicy, request.Version = inv.ImageName(), pullPolicy(inv), inv.Build.Version
	return request, checkImage(inv, request.Image)
}

// checkImage refuses an image that cannot be one, and says where its name stands.
func checkImage(inv *applets.Invocation, image string) error {
	err := kube.CheckImageName(image)
	switch {
	case err == nil:
		return nil
	case inv.Flags.String("image") != "":
		return applets.Usage("--image: %w", err)
	case os.Getenv("KDIAG_IMAGE") != "":
		return applets.Usage("environment variable KDIAG_IMAGE: %w", err)
	}
	return applets.Usage("image of this build: %w", err)
}

func parseRequest(inv *applets.Invocation, names []string) (containers.Request, error) {
	request := containers.Request{
		Image: inv.ImageName(), PullPolicy: pullPolicy(inv), Version: inv.Build.Version,
		Timeout: inv.Flags.Duration("timeout"), IdleTimeout: inv.Flags.Duration("idle-timeout"),
		Force: inv.Flags.Bool("force"),
		// Value is nil for a flag that the command does not have.
		HasCopy: inv.Flags.Value("copy") != nil,
	}

	var err error
	if request.Pod, request.Container, err = ParseTarget(inv, names); err != nil {
		return request, err
	}
	if err = checkImage(inv, request.Image); err != nil {
		return request, err
	}
	if request.Reason, err = readReason(inv); err != nil {
		return request, err
	}
	if request.Timeout <= 0 || inv.Flags.IsSet("idle-timeout") && request.IdleTimeout <= 0 {
		return request, applets.Usage("--timeout and --idle-timeout must be longer than 0")
	}

	return request, nil
}

// addedContainer lists the flags for a container to be added to a pod; idle is
// what --idle-timeout is where it is left out.
func addedContainer(idle string) []cli.Flag {
	return []cli.Flag{
		imageFlag(), pullPolicyFlag(),
		&cli.DurationFlag{Name: "timeout", Usage: "Maximum time to wait for the container and connection", Value: kube.DefaultTimeout},
		&cli.DurationFlag{Name: "idle-timeout", Usage: "How long the container outlives its last session", DefaultText: idle},
		&cli.BoolFlag{Name: "force", Usage: "Go on even if the pod's memory limit may be too small for kdiag"},
		applets.Takes(applets.KindText, &cli.StringFlag{Name: "reason", Usage: "Record `TEXT` in the audit log and the container's arguments"}),
	}
}

// formatMinutes writes a duration of whole minutes as a user would: "10m".
func formatMinutes(d time.Duration) string { return fmt.Sprintf("%dm", int(d.Minutes())) }

func imageFlag() cli.Flag { return applets.ImageFlag("Image to run in the pod", "dbg-image") }

func pullPolicyFlag() cli.Flag {
	return applets.OneOf(&cli.StringFlag{
		Name: "image-pull-policy", Aliases: []string{"pull-policy"}, Usage: "Pull policy", Value: string(corev1.PullIfNotPresent),
	}, string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever))
}

// pullPolicy reads the flag of pullPolicyFlag.
func pullPolicy(inv *applets.Invocation) corev1.PullPolicy {
	return corev1.PullPolicy(inv.Flags.String("image-pull-policy"))
}
