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
	// Local is where the connections go on this machine, as HOST:PORT.
	Local string
}

// String shows the redirect: what comes in, or where it was going.
func (s Spec) String() string {
	switch {
	case !s.Outgoing:
		return strconv.Itoa(int(s.Port))
	case s.Host == "":
		return fmt.Sprintf("outgoing %d", s.Port)
	}
	return "outgoing " + net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port)))
}
