package kubeflags

import (
	"strconv"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// maxReason bounds --reason, in bytes. Beside the rest of it, the user agent
// then stays below the 1,024 bytes that an API server writes into its audit log.
const maxReason = 200

// readReason reads --reason: one printable line, or nothing.
func readReason(inv *applets.Invocation) (string, error) {
	reason := inv.Flags.String("reason")
	switch {
	case inv.Flags.IsSet("reason") && reason == "":
		return "", applets.Usage("--reason must not be empty")
	case len(reason) > maxReason:
		return "", applets.Usage("--reason must be at most %d bytes long, got %d", maxReason, len(reason))
	case wire.Printable(reason) != reason:
		return "", applets.Usage("--reason must be one line of printable text, got %q", reason)
	}
	return reason, nil
}

// userAgent tells the API server who asks, and why. A header takes
// ASCII alone: other letters of a reason stand there as \u escapes.
func userAgent(inv *applets.Invocation) string {
	agent := inv.UserAgent()
	if reason := inv.Flags.String("reason"); reason != "" {
		agent += " reason=" + strconv.QuoteToASCII(reason)
	}
	return agent
}
