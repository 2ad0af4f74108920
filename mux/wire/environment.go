package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxEnvironment limits what is read of a process's environment, in bytes. It is the process's own
// memory, and as long as that likes.
const MaxEnvironment = 1 << 20

// Environment lists the variables of a container's first process, as "kdiag inspect --environment"
// prints them.
type Environment struct {
	Time time.Time `json:"time"`
	// PID is the process's, as the pod's shell container sees it.
	PID int `json:"pid"`
	// Entries has each NAME=VALUE in the kernel's order. They are bytes, since not all are UTF-8.
	Entries [][]byte `json:"entries"`
	// Cut says that there are more than MaxEnvironment bytes.
	Cut bool `json:"cut,omitempty"`
}

// ParseEnvironment parses an environment's line of JSON.
func ParseEnvironment(line []byte) (Environment, error) {
	if len(line) > MaxSnapshot {
		return Environment{}, fmt.Errorf("%d bytes are over the limit of %d", len(line), MaxSnapshot)
	}

	var e Environment
	if err := json.Unmarshal(line, &e); err != nil {
		return Environment{}, err
	}
	if e.Time.IsZero() || e.PID <= 0 {
		return Environment{}, errors.New("not an environment: it has no time or no process")
	}

	return e, nil
}
