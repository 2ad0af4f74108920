package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/extcap"
)

// Extcap declares "kdiag extcap".
func Extcap() applets.Applet {
	const about = `
		Wireshark calls the programs in its extcap folder, to find out what they can capture from. A
		link to kdiag there adds the interface "Kubernetes pod": choose the pod with the gear icon
		beside it.
	`

	return applets.Applet{
		Name:    "extcap",
		Summary: "Capture from Wireshark's own window",
		Examples: `
			kubectl kdiag extcap install   # Wireshark shows the interface "Kubernetes pod"
			kubectl kdiag extcap remove
		`,
		Description: about,
		Applets: []applets.Applet{
			{
				Name: "install", Summary: "Put a link to kdiag into Wireshark's extcap folder", Args: []applets.Kind{applets.KindNone},
				Examples: `
					kubectl kdiag extcap install                # then restart Wireshark
					kubectl kdiag extcap install && tshark -D   # tshark lists it as kdiag
				`,
				Description: about, Run: runInstall,
			},
			{
				Name: "remove", Summary: "Remove the link from Wireshark's extcap folder", Args: []applets.Kind{applets.KindNone},
				Examples: `
					kubectl kdiag extcap remove
					kubectl kdiag extcap remove && tshark -D    # kdiag is not listed any more
				`,
				Description: about, Run: runRemove,
			},
		},
	}
}

// findFolder returns Wireshark's folder.
func findFolder(ctx context.Context, inv *applets.Invocation) (string, error) {
	if len(inv.Args) > 0 {
		return "", applets.Usage("unexpected argument %q", inv.Args[0])
	}

	finder, err := extcap.NewFinder()
	if err != nil {
		return "", fmt.Errorf("find Wireshark's extcap folder: %w", err)
	}

	return finder.Folder(ctx), nil
}

// findOwnProgram returns the name of this program. It is the one in PATH if that leads here: package
// managers keep that over an update, and remove the file that it leads to.
func findOwnProgram() (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", err
	}

	running, err := os.Stat(own)
	if err != nil {
		return "", err
	}

	for _, name := range []string{"kubectl-kdiag", "kdiag"} {
		found, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		info, err := os.Stat(found)
		if err == nil && os.SameFile(info, running) {
			return filepath.Abs(found)
		}
	}

	return own, nil
}

func runInstall(ctx context.Context, inv *applets.Invocation) error {
	folder, err := findFolder(ctx, inv)
	if err != nil {
		return err
	}

	program, err := findOwnProgram()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}

	link, err := extcap.Install(folder, program)
	if err != nil {
		return applets.WithHint(fmt.Errorf("install into %s: %w", folder, err), "copy %s to %s yourself", program, folder)
	}

	fmt.Fprintf(inv.Out, "linked %s\n", link)
	applets.Note(inv.Err, "restart Wireshark, and choose the pod with the gear icon beside \"%s\"", interfaceDisplay)

	return nil
}

func runRemove(ctx context.Context, inv *applets.Invocation) error {
	folder, err := findFolder(ctx, inv)
	if err != nil {
		return err
	}

	link, err := extcap.Remove(folder)
	switch {
	case err != nil:
		return fmt.Errorf("remove the link from %s: %w", folder, err)
	case link == "":
		return fmt.Errorf("remove the link from %s: %w", folder, errors.New("there is none"))
	}

	fmt.Fprintf(inv.Out, "removed %s\n", link)

	return nil
}
