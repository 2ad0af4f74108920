package redir

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"kdiag/applets/internal/laptop/redirectclient"
)

const localhost = "localhost"

// parseIncoming reads PORT[:[HOST:]LOCALPORT], where PORT may be a name. The spec of a name has no
// Port yet, and without LOCALPORT no Local either.
func parseIncoming(text string) (redirectclient.Spec, error) {
	first, rest, more := strings.Cut(text, ":")
	if !isPortName(first) {
		return parseNumbered(text)
	}

	s := redirectclient.Spec{PortName: first}
	if !more {
		return s, nil
	}

	var err error
	if s.Local, err = parseLocal(rest); err != nil {
		return redirectclient.Spec{}, fmt.Errorf("%q: %w; a redirect is PORT[:[HOST:]LOCALPORT]", text, err)
	}
	return s, nil
}

// isPortName reports whether a text can be the name of a port of a container or a Service: a DNS
// label with a letter.
func isPortName(text string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return len(text) <= 63 && strings.ContainsAny(text, letters) && strings.Trim(text, letters+"0123456789-") == "" &&
		!strings.HasPrefix(text, "-") && !strings.HasSuffix(text, "-")
}

// parseNumbered reads PORT[:[HOST:]LOCALPORT], where PORT is a number.
func parseNumbered(text string) (redirectclient.Spec, error) {
	first, rest, more := strings.Cut(text, ":")
	s := redirectclient.Spec{}
	var err error
	if s.Port, err = parsePort(first); err != nil {
		return redirectclient.Spec{}, fmt.Errorf("%q: %w; a redirect is PORT[:[HOST:]LOCALPORT]", text, err)
	}
	if !more {
		rest = first
	}
	if s.Local, err = parseLocal(rest); err != nil {
		return redirectclient.Spec{}, fmt.Errorf("%q: %w; a redirect is PORT[:[HOST:]LOCALPORT]", text, err)
	}

	return s, nil
}

// parseOutgoing reads PORT[:[HOST:]LOCALPORT] or HOST:PORT[=[HOST:]LOCALPORT].
func parseOutgoing(text string) (redirectclient.Spec, error) {
	const form = "an outgoing redirect is PORT[:[HOST:]LOCALPORT] or HOST:PORT[=[HOST:]LOCALPORT]"
	remote, local, named := strings.Cut(text, "=")
	if !named {
		if s, err := parseNumbered(text); err == nil {
			s.Outgoing = true
			return s, nil
		}
	}

	host, port, err := net.SplitHostPort(remote)
	if err != nil || host == "" {
		return redirectclient.Spec{}, fmt.Errorf("%q: %s", text, form)
	}

	s := redirectclient.Spec{Outgoing: true, Host: host}
	if s.Port, err = parsePort(port); err != nil {
		return redirectclient.Spec{}, fmt.Errorf("%q: %w; %s", text, err, form)
	}
	if !named {
		local = port
	}
	if s.Local, err = parseLocal(local); err != nil {
		return redirectclient.Spec{}, fmt.Errorf("%q: %w; %s", text, err, form)
	}

	return s, nil
}

// parseLocal reads [HOST:]PORT, with localhost for no host.
func parseLocal(text string) (string, error) {
	host, port := localhost, text
	if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return "", err
		}
		if host == "" {
			host = localhost
		}
	}

	if _, err := parsePort(port); err != nil {
		return "", err
	}

	return net.JoinHostPort(host, port), nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return uint16(port), nil
}

// parseSpecs reads all of them, and refuses two of the same.
func parseSpecs(incoming, outgoing []string) ([]redirectclient.Spec, error) {
	var specs []redirectclient.Spec
	seen := map[string]bool{}
	add := func(texts []string, parse func(string) (redirectclient.Spec, error)) error {
		for _, text := range texts {
			s, err := parse(text)
			if err != nil {
				return err
			}
			if seen[s.String()] {
				return fmt.Errorf("redirect %s is given twice", s)
			}
			seen[s.String()] = true
			specs = append(specs, s)
		}

		return nil
	}

	if err := add(incoming, parseIncoming); err != nil {
		return nil, err
	}

	return specs, add(outgoing, parseOutgoing)
}
