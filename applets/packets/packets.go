// Package packets is the applet that captures the packets of a pod's network, in an ephemeral
// container of the pod, and sends them to the laptop. The kernel filters them, keeps them in a ring
// of fixed size and counts those that nobody reads in time.
package packets

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/mux/wire"
)

// Applet returns "kdiag packets".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      wire.AppletPackets,
		Summary:   "In the pod: capture packets and print them as records",
		ArgsUsage: " ",
		Args:      []applets.Kind{applets.KindNone},
		Hidden:    true,
		Raw:       true,
		First:     lockdown.CloseProcess,
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			if len(inv.Args) > 0 {
				return applets.Usage("unexpected argument %q", inv.Args[0])
			}
			return run(ctx, inv.Streams)
		},
	}
}

// readRequest reads the line that says what to capture, and returns a reader of what follows.
func readRequest(in io.Reader) (wire.PacketsRequest, *bufio.Reader, error) {
	var request wire.PacketsRequest
	lines := bufio.NewReaderSize(in, wire.MaxPacketsRequest)
	line, err := lines.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, &request)
	}
	if err != nil {
		return request, nil, fmt.Errorf("read the request: %w", err)
	}

	return request, lines, checkRequest(request)
}

// checkRequest refuses what no kdiag on a laptop asks for.
func checkRequest(request wire.PacketsRequest) error {
	switch {
	case request.SnapLen == 0 || request.SnapLen > wire.MaxSnapLen:
		return fmt.Errorf("the request's snap length is %d, not 1 to %d", request.SnapLen, wire.MaxSnapLen)
	case len(request.HiddenPorts) > wire.MaxHiddenPorts:
		return fmt.Errorf("the request hides %d ports; the limit is %d", len(request.HiddenPorts), wire.MaxHiddenPorts)
	case len(request.Filters) == 0:
		return errors.New("the request has no filter")
	}

	for _, filter := range request.Filters {
		if len(filter.Program) == 0 || len(filter.Program) > wire.MaxFilter {
			return fmt.Errorf("the request's filter has %d instructions, not 1 to %d", len(filter.Program), wire.MaxFilter)
		}
	}
	return nil
}
