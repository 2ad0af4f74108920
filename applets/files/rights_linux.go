package files

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"kdiag/applets"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/pod/targetfiles"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// targetStatus is what the kernel says of the target's first process.
type targetStatus = procfs.Status

// openTargetRoot opens the root of a target's container. Every other file is opened below it.
func openTargetRoot(process procfs.Stat, own procfs.Status) (*targetfiles.Root, targetStatus, error) {
	status, err := procfs.ReadStatus(process.Thread)
	if err != nil {
		return nil, status, err
	}

	root, err := procfs.OpenDirectory(process.Thread, "root")
	if isDenied(err) && credentials.MayBecomeFSUser(own) {
		userErr := credentials.RunAsFSUser(status.UIDs.Effective, status.GIDs.Effective, own, func() error {
			root, err = procfs.OpenDirectory(process.Thread, "root")
			return nil
		})
		if userErr != nil {
			return nil, status, userErr
		}
	}
	if err != nil {
		return nil, status, explainNoRoot(process, status, own, err)
	}

	// The PID may have become another process's since it was chosen.
	if now, err := procfs.ReadStat(process.PID); err != nil || now.Start != process.Start {
		_ = unix.Close(root)
		return nil, status, fmt.Errorf("process %d has exited", process.PID)
	}
	found := targetfiles.NewRoot(leaveJail(root))
	if directory, err := os.Readlink(procfs.FilePath(process.Thread, "cwd")); err == nil {
		found.WorkingDirectory = directory
	}
	return found, status, nil
}

// leaveJail takes the container's root in place of one that the process has made its own.
func leaveJail(root int) int {
	top, _, err := procfs.OpenTop(root)
	if err != nil {
		return root
	}
	_ = unix.Close(root)
	return top
}

func isDenied(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// explainNoRoot explains why the target's root could not be opened.
func explainNoRoot(process procfs.Stat, status, own procfs.Status, err error) error {
	opening := fmt.Errorf("open the root of process %d: %w", process.PID, err)
	if !isDenied(err) {
		return opening
	}

	why, ptraceHelps := credentials.ExplainClosed(status, own, credentials.ReadSecurityLabels(process.Thread))
	opening = fmt.Errorf("%w: %s", opening, why)
	if ptraceHelps {
		return applets.WithHint(opening, "a container with SYS_PTRACE can: kubectl kdiag cp --profile=chroot")
	}
	return opening
}

// Capabilities that decide about files (capabilities(7)).
const (
	readingCaps = procfs.CapSet(1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER)
	writingCaps = procfs.CapSet(1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER)
	ownerCaps   = procfs.CapSet(1<<unix.CAP_CHOWN | 1<<unix.CAP_FSETID)
)

// takeRights gives up what the copy does not need: all that has to do with processes, and to read,
// what writes. FOWNER is for reading without a trace (open(2), O_NOATIME).
func takeRights(arguments wire.FilesArguments, target, own procfs.Status) error {
	keep := readingCaps
	if !own.Caps.Permitted.Has(unix.CAP_DAC_READ_SEARCH) {
		keep |= 1 << unix.CAP_DAC_OVERRIDE
	}
	if arguments.Write {
		keep = writingCaps
		if arguments.Preserve {
			keep |= ownerCaps
		}
	}

	if arguments.AsTarget {
		keep &= target.Caps.Effective
		if err := becomeTarget(target, own); err != nil {
			return applets.WithHint(fmt.Errorf("--as-target: %w", err), "without --as-target, files are copied as user %d", own.UIDs.FS)
		}
	}
	return lockdown.KeepCapabilities(keep, 0)
}

// becomeTarget gives all threads the target's user and groups. They keep their permitted
// capabilities until takeRights gives them up.
func becomeTarget(target, own procfs.Status) error {
	if err := credentials.AllThreads.KeepCapabilitiesOnce(); err != nil {
		return err
	}

	if own.Caps.Effective.Has(unix.CAP_SETGID) {
		if err := syscall.Setgroups(target.Groups); err != nil {
			return fmt.Errorf("take the target's groups %v: %w", target.Groups, err)
		}
	}
	gids, uids := target.GIDs, target.UIDs
	if err := syscall.Setresgid(gids.Effective, gids.Effective, gids.Effective); err != nil {
		return fmt.Errorf("become the target's group %d: %w", gids.Effective, err)
	}
	if err := syscall.Setresuid(uids.Effective, uids.Effective, uids.Effective); err != nil {
		return fmt.Errorf("become the target's user %d: %w", uids.Effective, err)
	}

	// A process that changes its user is one that others may trace again (PR_SET_DUMPABLE(2const)
	// takes fs/suid_dumpable, which a node's administrator sets).
	return lockdown.CloseProcess()
}
