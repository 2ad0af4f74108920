package shell

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/programs"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/internal/laptop/units"
)

// largePrograms is the size in bytes from which on programs are sent only with --force: they take the
// pod's memory as long as the shell runs.
const largePrograms = 64 << 20

// readPrograms reads the programs that the user brings along.
func readPrograms(inv *applets.Invocation) ([]programs.File, error) {
	files, err := programs.ReadAll(inv.Flags.StringSlice("with"))
	if err != nil {
		return nil, err
	}

	if total := programs.TotalSize(files); total > largePrograms && !inv.Flags.Bool("force") {
		return nil, applets.WithHint(applets.Usage("--with: the programs have %s, which the pod's memory would have to hold", units.Size(total)),
			"strip them of debug information, or use --force to go on")
	}

	return files, nil
}

// notePrograms says what is sent to the pod.
func notePrograms(host shellHost, files []programs.File) {
	for _, f := range files {
		host.Note(fmt.Sprintf("%s: %s of the pod's memory, sha256 %s", f.Name, units.Size(f.Size), f.Sum))
		if slices.Contains(builtins, f.Name) {
			host.Note(fmt.Sprintf("%s: the shell has a builtin or a word of that name, which comes first; to run yours: env %s", f.Name, f.Name))
		}
	}
}

// builtins lists what the shell (busybox ash) takes for its own before it looks for a program: its
// builtins and reserved words.
var builtins = strings.Fields(`. : [ [[ alias bg break cd chdir command continue echo eval exec exit export false fg getopts hash
	help history jobs kill let local printf pwd read readonly return set shift source test times trap true type ulimit
	umask unalias unset wait if then elif else fi for in do done while until case esac function`)

// bring sends programs to the pod and tells the launcher where they are.
func (s *shellSession) bring(ctx context.Context, files []programs.File, line *statusline.Line) (release releaser, err error) {
	if len(files) == 0 {
		return nothing{}, nil
	}

	loaded, err := programs.Send(ctx, s.handle, s.binary, files, line.Show)
	line.Clear()
	if err != nil {
		return nil, err
	}

	s.enter.Programs, s.enter.ProgramsFrom = programs.Arguments(files), loaded.Socket
	return loaded, nil
}

// releaser is what programs.Send returns.
type releaser interface{ Release() }

// nothing is what is released where there are no programs.
type nothing struct{}

func (nothing) Release() {}
