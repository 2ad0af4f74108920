// Package manage implements "kdiag manage", which starts the container for shells
// without entering it. It serves scripts and debugging.
package manage

import (
	"context"
	"fmt"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/kubeflags"
	"kdiag/mux/wire"
)

// Applet declares "kdiag manage".
func Applet() applets.Applet {
	return applets.Applet{
		Name:        "manage",
		Summary:     "Start the container that shells run in, and print its name",
		ArgsUsage:   "[POD | TYPE/NAME] [flags]",
		Args:        []applets.Kind{applets.KindTarget, applets.KindNone},
		Description: "The container exits by itself when it has been idle for --idle-timeout.",
		Hidden:      true,
		Flags:       kubeflags.ShellFlags(),
		Run:         startManager,
	}
}

func startManager(ctx context.Context, inv *applets.Invocation) error {
	request, err := kubeflags.ParseShell(inv)
	if err != nil {
		return err
	}

	cluster, err := kubeflags.Connect(ctx, inv)
	if err != nil {
		return err
	}

	shell := containers.NewShell(cluster, request, containers.NotesTo(inv.Err))
	injected, err := shell.Ensure(ctx)
	if err != nil {
		return err
	}
	if note := containers.GrantNote(injected); note != "" {
		shell.Note(note)
	}

	_, err = fmt.Fprintln(inv.Out, wire.Printable(injected.Name))
	return err
}
