package completion

import (
	"context"
	"runtime"
	"strings"

	"kdiag/applets"
)

// proposeCopied proposes what "kdiag cp" copies from or to: pods up to the colon, or local files. Of
// its two arguments, one is in a container.
func proposeCopied(ctx context.Context, line *applets.Partial) answer {
	_, remote := podOfPath(line.Word)
	selected := len(line.ValuesOf(applets.KindSelector))+len(line.ValuesOf(applets.KindPod)) > 0
	switch {
	case remote:
		return answer{directive: noFiles} // nobody asks the container while a line is typed
	case selected, isLocalPath(line.Word), podAmong(line.Args) != "":
		return answer{directive: files}
	}

	found := proposeFromCluster(ctx, line, applets.KindTarget)
	for i, c := range found.candidates {
		if !strings.HasSuffix(c.word, "/") {
			found.candidates[i].word += ":"
		}
	}
	if len(line.Args) == 0 {
		found.directive = files
	}
	return found.withPrefix(line.Word)
}

// isLocalPath reports whether a path is one of this machine, whatever else is in it.
func isLocalPath(word string) bool {
	return word != "" && strings.ContainsRune("/.~", rune(word[0]))
}

// podOfPath returns the target of a path in a container, and whether a word is one.
func podOfPath(word string) (target string, remote bool) {
	target, _, found := strings.Cut(word, ":")
	drive := runtime.GOOS == "windows" && (len(target) == 1 || strings.Contains(target, `\`))
	if !found || drive || isLocalPath(word) {
		return "", false
	}
	return target, true
}

// podAmong returns the target of the first path in a container.
func podAmong(words []string) string {
	for _, word := range words {
		if target, remote := podOfPath(word); remote {
			return target
		}
	}
	return ""
}
