package packets

import (
	"fmt"
	"net"
	"strings"

	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// source is an interface to capture from, with the program for its link type.
type source struct {
	wire.PacketInterface
	index   int
	program program
}

// findSources finds the interfaces that a request means. It returns a note for each that is left out.
func findSources(request wire.PacketsRequest) ([]source, []string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, nil, fmt.Errorf("list the interfaces: %w", err)
	}

	var found []source
	var notes, names []string
	for _, each := range all {
		names = append(names, each.Name)
		switch {
		case request.Interface != "" && each.Name != request.Interface:
			continue
		case request.Interface == "" && each.Flags&net.FlagUp == 0:
			continue
		case len(found) == wire.MaxInterfaces:
			notes = append(notes, fmt.Sprintf("interface %s is left out: %d are captured already", each.Name, wire.MaxInterfaces))
			continue
		}

		added, err := newSource(each, request)
		if err != nil {
			notes = append(notes, fmt.Sprintf("interface %s is left out: %v", each.Name, err))
			continue
		}
		added.Number = uint16(len(found))
		found = append(found, added)
	}

	switch {
	case len(found) > 0:
		return found, notes, nil
	case len(notes) > 0:
		return nil, nil, fmt.Errorf("no interface to capture from: %s", strings.Join(notes, "; "))
	}
	return nil, nil, fmt.Errorf("the pod has no interface %s, only %s", request.Interface, strings.Join(names, ", "))
}

// newSource finds the link type of an interface, and the request's program for it.
func newSource(each net.Interface, request wire.PacketsRequest) (source, error) {
	added := source{index: each.Index, PacketInterface: wire.PacketInterface{
		Name: each.Name, MTU: each.MTU, Address: each.HardwareAddr.String(),
	}}

	kind, err := readHardwareType(each.Name)
	if err != nil {
		return added, err
	}

	switch kind {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		added.LinkType = wire.LinkEthernet
	case unix.ARPHRD_NONE, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT, unix.ARPHRD_IPGRE:
		added.LinkType = wire.LinkRaw
	default:
		return added, fmt.Errorf("its hardware type %d is not supported", kind)
	}

	for _, filter := range request.Filters {
		if filter.LinkType == added.LinkType {
			added.program = filter.Program
		}
	}
	if added.program == nil {
		return added, fmt.Errorf("the filter does not fit its link type %d", added.LinkType)
	}

	if kind == unix.ARPHRD_LOOPBACK {
		added.program = filterLoopback(added.program, request.HiddenPorts)
	}
	return added, nil
}

// readHardwareType returns an interface's type, a number of linux/if_arp.h.
func readHardwareType(name string) (uint16, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for its type: %w", err)
	}
	defer unix.Close(fd)

	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, request)
	}
	if err != nil {
		return 0, fmt.Errorf("ask for its type: %w", err)
	}

	return request.Uint16(), nil // the address family of ifr_hwaddr
}
