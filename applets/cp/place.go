package cp

import (
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// stream stands for stdin or stdout.
const stream = "-"

// remotePath is a path in a container.
type remotePath struct {
	// namespace is empty where the flags say it.
	namespace string
	// target is POD or TYPE/NAME, or empty where a selector says it.
	target string
	path   string
}

// targetWords returns the argument that names the target, if there is one.
func (r remotePath) targetWords() []string {
	if r.target == "" {
		return nil
	}
	return []string{r.target}
}

// base returns the name that a copy of the path gets in a directory, or nothing if the path has
// none or stands for what is in it.
func (r remotePath) base() string {
	if standsForContents(r.path) {
		return ""
	}
	return nameOrNothing(path.Base(path.Clean(r.path)))
}

// nameOrNothing returns a name, unless it is that of no file.
func nameOrNothing(name string) string {
	if !wire.IsFileName(name) {
		return ""
	}
	return name
}

// standsForContents reports whether a path stands for what is in a directory.
func standsForContents(p string) bool {
	return p == "." || strings.HasSuffix(p, "/.") || runtime.GOOS == "windows" && strings.HasSuffix(p, `\.`)
}

// parseLine reads which of the two arguments is the container's.
func parseLine(inv *applets.Invocation) (copyOptions, error) {
	f := inv.Flags
	c := copyOptions{asTarget: f.Bool("as-target"), preserve: f.Bool("preserve"), resume: f.Bool("resume"), quiet: f.Bool("quiet")}
	if len(inv.Args) != 2 {
		return c, applets.Usage("specify a source and a destination, got %d arguments", len(inv.Args))
	}

	selected := f.String("selector") != "" || f.String("pod") != ""
	source, fromPod, err := parseRemote(inv.Args[0], selected, runtime.GOOS == "windows")
	if err != nil {
		return c, err
	}
	destination, toPod, err := parseRemote(inv.Args[1], selected, runtime.GOOS == "windows")
	if err != nil {
		return c, err
	}

	switch {
	case fromPod && toPod:
		return c, applets.WithHint(applets.Usage("both %s and %s are in containers", inv.Args[0], inv.Args[1]), "copy to this machine first, or through a pipe: kdiag cp POD:PATH - | kdiag cp - POD:PATH")
	case !fromPod && !toPod:
		return c, applets.WithHint(applets.Usage("neither %s nor %s is in a container", inv.Args[0], inv.Args[1]), "write POD:PATH or TYPE/NAME:PATH")
	case fromPod:
		c.remote, c.local = source, inv.Args[1]
	default:
		c.remote, c.local, c.upload = destination, inv.Args[0], true
	}
	return c, c.check(inv)
}

// check refuses what does not fit together, and takes the namespace over.
func (c copyOptions) check(inv *applets.Invocation) error {
	switch named := inv.Flags.String("namespace"); {
	case c.local == "":
		return applets.Usage("the local path is empty")
	case c.local == stream && c.resume:
		return applets.Usage("--resume needs files at both ends, not -")
	case c.remote.namespace == "":
		return nil
	case named != "" && named != c.remote.namespace:
		return applets.Usage("--namespace=%s and %s/%s name different namespaces", named, c.remote.namespace, c.remote.target)
	}
	return inv.Flags.Set("namespace", c.remote.namespace)
}

// parseRemote parses an argument that names a container and a path. It returns false for a local
// path: one without a colon, one that begins with "/", "./" or "../", and on Windows one with a
// drive.
func parseRemote(word string, selected, windows bool) (r remotePath, isRemote bool, err error) {
	target, inPod, found := strings.Cut(word, ":")
	switch {
	case !found, strings.HasPrefix(word, "/"), strings.HasPrefix(word, "."), strings.HasPrefix(word, "~"):
		return r, false, nil
	case windows && (len(target) == 1 || strings.Contains(target, `\`)):
		return r, false, nil
	case inPod == "":
		return r, false, applets.Usage("%s: name a path after the colon", word)
	case strings.Contains(inPod, "\x00"):
		return r, false, applets.Usage("%q: no path has a NUL", word)
	case target == "" && !selected:
		return r, false, applets.Usage("%s: name a pod before the colon, or select one with -l", word)
	case target != "" && selected:
		return r, false, applets.Usage("%s: name the pod before the colon or with -l, not both", word)
	}

	r.path, r.target = inPod, target
	before, name, typed := strings.Cut(target, "/")
	if !typed {
		return r, true, nil
	}
	if _, isType := kube.ParseResource(before); !isType && before != "" && name != "" && !strings.Contains(name, "/") {
		r.namespace, r.target = before, name
	}
	return r, true, nil
}

// localBase returns the name that a copy of a local path gets in a directory.
func localBase(local string) string {
	if standsForContents(local) {
		return ""
	}
	absolute, err := filepath.Abs(local)
	if err != nil {
		absolute = local
	}
	return nameOrNothing(filepath.Base(absolute))
}
