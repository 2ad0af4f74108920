package filecopy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Files have one of these names until they are complete.
const (
	tempStart = ".kdiag-"
	tempEnd   = ".part"
)

// partialName returns the temporary name of a file with which a later copy can go on.
func partialName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return tempStart + hex.EncodeToString(sum[:8]) + tempEnd
}

// tempNames gives names that nothing else has.
type tempNames struct {
	start string
	count int
}

func newTempNames() tempNames { return tempNames{start: tempStart + rand.Text()[:12] + "-"} }

func (t *tempNames) next() string {
	t.count++
	return t.start + strconv.Itoa(t.count) + tempEnd
}

// NameRules says which names a file system does not take as they are.
type NameRules struct {
	// Windows refuses the names that Windows reserves, and characters that it has other uses for.
	Windows bool
	// FoldCase says that names which differ only in their case are the same.
	FoldCase bool
}

// seenNames holds the names that came in one directory, in lower case.
type seenNames map[string]string

// refuse says why a name cannot be used, if it cannot.
func (s *seenNames) refuse(name string, rules NameRules) string {
	if rules.Windows {
		if text := refuseOnWindows(name); text != "" {
			return text
		}
	}
	if !rules.FoldCase {
		return ""
	}

	if *s == nil {
		*s = seenNames{}
	}
	folded := strings.ToLower(name)
	if other, taken := (*s)[folded]; taken {
		return fmt.Sprintf("not copied: here its name is the same as that of %q", other)
	}
	(*s)[folded] = name
	return ""
}

// refuseOnWindows says why Windows does not take a name, if it does not (Naming Files, Paths, and
// Namespaces; Win32 API).
func refuseOnWindows(name string) string {
	if strings.ContainsAny(name, `<>:"\|?*`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return "not copied: Windows takes no name with such characters"
	}
	if strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return "not copied: Windows takes no name that ends in a dot or a space"
	}

	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	for _, reserved := range []string{"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} {
		if base == reserved {
			return "not copied: Windows reserves its name"
		}
	}
	rest, isPort := strings.CutPrefix(base, "COM")
	if !isPort {
		rest, isPort = strings.CutPrefix(base, "LPT")
	}
	if isPort && len([]rune(rest)) == 1 && strings.Contains("0123456789¹²³", rest) {
		return "not copied: Windows reserves its name"
	}
	return ""
}

// IsPartialName reports whether a name is one with which a later copy can go on.
func IsPartialName(name string) bool {
	middle, isTemp := strings.CutPrefix(strings.TrimSuffix(name, tempEnd), tempStart)
	return isTemp && strings.HasSuffix(name, tempEnd) && len(middle) == 16 && strings.Trim(middle, "0123456789abcdef") == ""
}
