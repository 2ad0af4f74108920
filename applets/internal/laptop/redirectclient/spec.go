package redirectclient

import (
	"fmt"
	"net"
	"strconv"
)

// Spec is one redirect as the user asked for it.
type Spec struct {
	Outgoing bool
	// Port is the destination port in the pod. Host is the only destination of
	// outgoing connections, or empty for any.
	Port uint16
	Host string
	// PortName is what the user named the port by, if not by its number. Service is set
	// if it is a port of that Service, whose number is ServicePort.
	PortName, Service string
	ServicePort       uint16
	// Local is where the connections go on this machine, as HOST:PORT.
	Local string
}

// String shows the redirect: what comes in, or where it was going.
func (s Spec) String() string {
	switch {
	case s.Port == 0:
		return s.PortName
	case !s.Outgoing:
		return strconv.Itoa(int(s.Port))
	case s.Host == "":
		return fmt.Sprintf("outgoing %d", s.Port)
	}
	return "outgoing " + net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port)))
}

// Origin says what the user named the port by, such as "port 80 of service web", unless it was
// by the port's number.
func (s Spec) Origin() string {
	name := s.PortName
	if name == "" {
		name = strconv.Itoa(int(s.ServicePort))
	}

	switch {
	case s.Service != "":
		return fmt.Sprintf("port %s of service %s", name, s.Service)
	case s.PortName != "":
		return "port " + s.PortName
	}
	return ""
}
