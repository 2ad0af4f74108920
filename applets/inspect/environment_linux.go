package inspect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// printEnvironment prints the environment of the target's first process. The caller has locked the
// thread.
func printEnvironment(out *json.Encoder, target wire.TargetArguments) error {
	own, err := credentials.ReadOwnStatus()
	if err != nil {
		return err
	}

	process, err := podproc.FindFirst(target)
	if err != nil {
		return err
	}

	environment, err := readEnvironment(process, own)
	if err != nil {
		return err
	}

	// The PID may have become another process's since it was chosen.
	if now, err := procfs.ReadStat(process.PID); err != nil || now.Start != process.Start {
		return errors.New(wire.NoProcess(target.ID))
	}

	if err := out.Encode(environment); err != nil {
		return fmt.Errorf("print the environment: %w", err)
	}

	return nil
}

// readEnvironment reads a process's environment, as that one's user if this container's may not.
func readEnvironment(process procfs.Stat, own procfs.Status) (wire.Environment, error) {
	status, err := procfs.ReadStatus(process.Thread)
	if err != nil {
		return wire.Environment{}, err
	}

	var entries []string
	var cut bool
	read := func() (err error) {
		entries, cut, err = procfs.ReadEnvironment(process.Thread, wire.MaxEnvironment)
		return err
	}

	err = read()
	if errors.Is(err, fs.ErrPermission) && credentials.MayBecomeFSUser(own) {
		userErr := credentials.RunAsFSUser(status.UIDs.Effective, status.GIDs.Effective, own, func() error {
			err = read()
			return nil
		})
		err = cmp.Or(userErr, err)
	}
	if err != nil {
		return wire.Environment{}, explainEnvironment(process, status, own, err)
	}

	// The last one may be cut, too.
	if cut && len(entries) > 0 {
		entries = entries[:len(entries)-1]
	}

	found := wire.Environment{Time: time.Now().UTC(), PID: process.PID, Entries: make([][]byte, len(entries)), Cut: cut}
	for i, entry := range entries {
		found.Entries[i] = []byte(entry)
	}

	return found, nil
}

// explainEnvironment says why a process's environment cannot be read.
func explainEnvironment(process procfs.Stat, status, own procfs.Status, err error) error {
	doing := fmt.Sprintf("read the environment of process %d", process.PID)
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w", doing, err)
	}

	why, ptraceHelps := credentials.ExplainClosed(status, own, credentials.ReadSecurityLabels(process.Thread))
	err = fmt.Errorf("%s: permission denied: %s", doing, why)
	if ptraceHelps {
		return applets.WithHint(err, "a container with SYS_PTRACE can read it: --profile=chroot")
	}

	return err
}
