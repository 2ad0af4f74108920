package env

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// mask stands for a secret. Its length says nothing of the secret's.
const mask = "********"

// minRepeated is the length in bytes from which a secret is also masked inside of other values. A
// shorter one would be found in words that have nothing to do with it.
const minRepeated = 6

// maskSecrets replaces secrets in the values.
func (d *document) maskSecrets() {
	var secrets []string
	for i := range d.Variables {
		v := &d.Variables[i]
		hidden, found := hideSecrets(v.Name, v.Value, v.From.mayBeSecret())
		secrets = append(secrets, found...)
		v.setMasked(hidden)
	}

	// The longest first: a secret may be a part of another.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for i := range d.Variables {
		v := &d.Variables[i]
		value := v.Value
		for _, secret := range secrets {
			if len(secret) >= minRepeated {
				value = strings.ReplaceAll(value, secret, mask)
			}
		}
		v.setMasked(value)
	}
}

// setMasked replaces the value by one without secrets, if that is another.
func (v *variable) setMasked(hidden string) {
	if hidden != v.Value {
		v.Value, v.Bytes, v.Masked = hidden, "", true
	}
}

// hideSecrets returns a value without its secrets, and these.
func hideSecrets(name, value string, mayBeSecret bool) (hidden string, secrets []string) {
	if value == "" {
		return "", nil
	}
	if mayBeSecret || isSecretName(name) || privateKey.MatchString(value) {
		return mask, append(listPasswords(value), value)
	}

	hidden = value
	for _, pattern := range secretParts {
		hidden = pattern.ReplaceAllStringFunc(hidden, func(match string) string {
			at := pattern.FindStringSubmatchIndex(match)
			secrets = append(secrets, match[at[2]:at[3]])
			return match[:at[2]] + mask + match[at[3]:]
		})
	}

	return hidden, secrets
}

// listPasswords returns the parts of a secret value that are secrets by themselves, such as the
// password in a URL.
func listPasswords(value string) (secrets []string) {
	for _, pattern := range secretParts {
		for _, match := range pattern.FindAllStringSubmatch(value, -1) {
			secrets = append(secrets, match[1])
		}
	}
	return secrets
}

// privateKey matches a private key in PEM, the PGP and OpenSSH kinds among them, and age's.
var privateKey = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY|AGE-SECRET-KEY-1`)

// secretParts match text with a secret in it. The first group of each is the secret.
var secretParts = []*regexp.Regexp{
	// The password of a URL, which may hold "@", and one that should have been escaped.
	regexp.MustCompile(`://[^\s/?#:@]*:([^\s/?#]+)@`),
	regexp.MustCompile(`://[^\s/?#:@]*:([^\s@,]*[/?#][^\s@,]*)@`),
	// A token in place of a URL's user.
	regexp.MustCompile(`://([^\s/?#:@]{20,})@`),
	// "user:password@tcp(host)/name", as Go's MySQL driver has it.
	regexp.MustCompile(`^[^\s:/@]+:(\S+)@\w+\(`),
	// "password=…" in a list of settings, a query or a URL.
	regexp.MustCompile(`(?i)(?:password|passwd|passphrase|pwd|secret|token|credential|sig|signature|api[_-]?key|access[_-]?key|account[_-]?key)` +
		`["']?\s*[=:]\s*("[^"]+"|'[^']+'|[^\s;&,"'}]+)`),
	// A header.
	regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+([A-Za-z0-9+/._~=-]{8,})`),
	// A JWT.
	regexp.MustCompile(`(\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)`),
	// Tokens that say what they are: GitHub's, GitLab's, Slack's, Stripe's.
	regexp.MustCompile(`(\b(?:gh[opusr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|[rs]k_live_[A-Za-z0-9]{10,}))`),
}

// isSecretName reports whether a variable's name says that its value is a secret. A wrong yes costs
// the reader a flag, a wrong no shows a secret.
func isSecretName(name string) bool {
	for _, word := range splitWords(name) {
		switch {
		case word == "AUTHOR", word == "AUTHORS":
			continue
		case slices.ContainsFunc(secretInWord, func(part string) bool { return strings.Contains(word, part) }):
			return true
		case slices.ContainsFunc(secretAtEnd, func(part string) bool { return strings.HasSuffix(word, part) }):
			return true
		case word == "PWD" && name != "PWD" && name != "OLDPWD", word == "PAT", word == "JWT", word == "COOKIE", word == "PIN":
			return true
		}
	}
	return false
}

var (
	secretInWord = []string{"PASSWORD", "PASSWD", "PASSPHRASE", "TOKEN", "SECRET", "CREDENTIAL", "AUTH", "PRIVATE", "APIKEY", "CREDS"}
	secretAtEnd  = []string{"KEY", "KEYS", "PASS"}
)

// splitWords splits a name at what is no letter or digit, and where a capital follows a small
// letter. It returns the words in capitals.
func splitWords(name string) []string {
	var words []string
	start, before := 0, ' '
	for i, r := range name {
		isPart := unicode.IsLetter(r) || unicode.IsDigit(r)
		if !isPart || unicode.IsUpper(r) && unicode.IsLower(before) {
			words = append(words, strings.ToUpper(name[start:i]))
			start = i
			if !isPart {
				start += len(string(r))
			}
		}
		before = r
	}
	return append(words, strings.ToUpper(name[min(start, len(name)):]))
}
