package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"kdiag/applets"
)

// program describes the running kdiag binary.
type program struct {
	// name is the path that the user knows. Builds for other platforms lie beside it.
	name string
	// file is the path to read the binary from.
	file     string
	platform platform
}

func runningProgram() (program, error) {
	name, err := os.Executable()
	if err != nil {
		return program{}, fmt.Errorf("find this program's file: %w", err)
	}
	// kubectl's plugins are often links into another directory.
	if resolved, err := filepath.EvalSymlinks(name); err == nil {
		name = resolved
	}

	p := program{name: name, file: name, platform: platform{runtime.GOOS, runtime.GOARCH}}
	if runtime.GOOS == "linux" {
		// This works even if the file was replaced or removed (proc(5)).
		p.file = "/proc/self/exe"
	}

	return p, nil
}

// findBinary returns the path of the binary for target.
func (o buildOptions) findBinary(target platform) (string, error) {
	if o.Binary != "" {
		return o.Binary, nil
	}

	self, err := o.ownProgram()
	if err != nil {
		return "", err
	}
	if self.platform == target {
		return self.file, nil
	}

	sibling := filepath.Join(filepath.Dir(self.name), "kdiag-"+target.os+"-"+target.arch)
	if _, err := os.Stat(sibling); errors.Is(err, fs.ErrNotExist) {
		return "", applets.WithHint(
			fmt.Errorf("find a kdiag for %s: this one is for %s, and there is no %s", target, self.platform, sibling),
			"give one with --binary, or build them all with make build-all")
	}

	return sibling, nil
}

// displayName returns the name to show for a file that findBinary returned.
func (o buildOptions) displayName(file string) string {
	if self, err := o.ownProgram(); err == nil && o.Binary == "" && file == self.file {
		return self.name
	}
	return file
}

func (o buildOptions) ownProgram() (program, error) {
	if o.self != nil {
		return *o.self, nil
	}
	return runningProgram()
}
