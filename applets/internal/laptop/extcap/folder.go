package extcap

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"time"
)

// Finder finds the folder in which Wireshark looks for the user's capture programs.
type Finder struct {
	// Ask runs Wireshark or tshark and returns what it prints.
	Ask func(ctx context.Context, program string, args ...string) (string, error)
	// Home is the user's folder, Config that of the user's configurations.
	Home, Config string
	OS           string
}

// NewFinder returns a finder for this machine.
func NewFinder() (Finder, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return Finder{}, err
	}

	config, err := os.UserConfigDir()
	if err != nil {
		return Finder{}, err
	}

	if runtime.GOOS == "darwin" { // Wireshark has its files where Linux has them
		config = filepath.Join(home, ".config")
	}

	return Finder{Ask: ask, Home: home, Config: config, OS: runtime.GOOS}, nil
}

// ask runs a program and returns its output.
func ask(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).Output()

	return string(out), err
}

// askTime bounds the question: Wireshark needs a display for some, and may wait for it.
const askTime = 10 * time.Second

// Folder returns the folder. It is where Wireshark says, else where it depends on the version:
// 4.1 moved it.
func (f Finder) Folder(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()

	for _, program := range []string{"tshark", "wireshark"} {
		folders, err := f.Ask(ctx, program, "-G", "folders")
		if err != nil {
			continue
		}
		if folder := f.parseFolders(folders); folder != "" {
			return folder
		}
	}

	return f.recent()
}

// recent returns the folder of Wireshark 4.1 and later.
func (f Finder) recent() string {
	if f.OS == "windows" {
		return filepath.Join(f.Config, "Wireshark", "extcap")
	}

	return filepath.Join(f.Home, ".local", "lib", "wireshark", "extcap")
}

// parseFolders reads the folder from the answer to "-G folders". Before 4.1, that names the folder
// of configurations only.
func (f Finder) parseFolders(text string) string {
	personalExtcap := regexp.MustCompile(`(?m)^Personal Extcap[^:\n]*:\s*(.+?)\s*$`)
	if match := personalExtcap.FindStringSubmatch(text); match != nil {
		return match[1]
	}

	personalConfig := regexp.MustCompile(`(?m)^Personal configuration:\s*(.+?)\s*$`)
	if match := personalConfig.FindStringSubmatch(text); match != nil {
		return filepath.Join(match[1], "extcap")
	}

	return ""
}

// Install puts a link to a program into a folder, and returns its name. A link that is there
// already is replaced; a file is not.
func Install(folder, program string) (string, error) {
	link := filepath.Join(folder, "kdiag"+filepath.Ext(program))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}

	if info, err := os.Lstat(link); err == nil {
		if info.Mode().Type() != fs.ModeSymlink {
			return "", fmt.Errorf("%s exists and is not a link", link)
		}
		if err := os.Remove(link); err != nil {
			return "", err
		}
	}

	if err := os.Symlink(program, link); err != nil {
		return "", err
	}

	return link, nil
}

// Remove removes the link that Install has made, and returns its name; "" if there is none.
func Remove(folder string) (string, error) {
	for _, name := range []string{"kdiag", "kdiag.exe"} {
		link := filepath.Join(folder, name)
		info, err := os.Lstat(link)
		if err != nil || info.Mode().Type() != fs.ModeSymlink {
			continue
		}

		return link, os.Remove(link)
	}

	return "", nil
}
