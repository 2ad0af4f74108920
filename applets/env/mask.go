package env

import (
	"cmp"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
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

	// In one pass, since a hostile process may have many. The longest first: a secret may be a part of
	// another.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, secret := range slices.Compact(secrets) {
		if len(secret) >= minRepeated {
			pairs = append(pairs, secret, mask)
		}
	}

	hide := strings.NewReplacer(pairs...)
	for i := range d.Variables {
		v := &d.Variables[i]
		v.setMasked(hide.Replace(v.Value))
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
	if mayBeSecret || isSecretName(name) || isPrivateKey(value) || encodesSecret(value) {
		_, secrets = hideParts(value)
		return mask, append(secrets, strings.TrimSpace(value))
	}
	return hideParts(value)
}

// hideParts returns a value without the parts that are secrets by their form, such as the password in
// a URL, and these.
func hideParts(value string) (hidden string, secrets []string) {
	hidden, secrets = hideSettings(value)
	for _, pattern := range secretParts {
		hidden = pattern().ReplaceAllStringFunc(hidden, func(match string) string {
			at := pattern().FindStringSubmatchIndex(match)
			if secret := match[at[2]:at[3]]; secret != mask {
				secrets = append(secrets, secret)
			}
			return match[:at[2]] + mask + match[at[3]:]
		})
	}
	return hidden, secrets
}

// hideSettings hides the values of settings that are secrets by their names.
func hideSettings(value string) (hidden string, secrets []string) {
	var kept strings.Builder
	for rest := value; ; {
		at := secretSetting().FindStringSubmatchIndex(rest)
		if at == nil {
			kept.WriteString(rest)
			return kept.String(), secrets
		}

		// The groups are one value each, and one of them has matched.
		start, end := slices.Max([]int{at[2], at[4], at[6]}), at[1]
		secret := rest[start:end]
		if !isQuoted(secret) {
			if next := nextSetting().FindStringIndex(secret); next != nil && next[0] > 0 {
				secret = secret[:next[0]]
			}
		}

		kept.WriteString(rest[:start] + mask)
		rest = rest[start+len(secret):]
		secrets = append(secrets, strings.Trim(secret, `\"'`))
	}
}

// isQuoted reports whether a setting's value is in quotes, or a list or an object.
func isQuoted(value string) bool { return strings.ContainsAny(value[:1], "\"'\\[{") }

// isPrivateKey reports whether a value has a private key in it.
func isPrivateKey(value string) bool { return privateKey().MatchString(value) }

// encodesSecret reports whether a value is base64 of something with a secret in it.
func encodesSecret(value string) bool {
	text := strings.Join(strings.Fields(value), "")
	if len(text) < minEncoded {
		return false
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		decoded, err := encoding.WithPadding(base64.NoPadding).DecodeString(strings.TrimRight(text, "="))
		if err != nil || !utf8.Valid(decoded) {
			continue
		}
		if _, secrets := hideParts(string(decoded)); len(secrets) > 0 || isPrivateKey(string(decoded)) {
			return true
		}
	}
	return false
}

// minEncoded is the length from which a value may be base64 of a text with a secret.
const minEncoded = 16

// compileLater returns a function that compiles an expression when it is first called: kdiag's processes
// in pods, which have this package too, need none of them.
func compileLater(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// privateKey matches a private key in PEM, the PGP and OpenSSH kinds among them, PuTTY's, age's, and one
// in JSON (RFC 7517).
var privateKey = compileLater(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File|AGE-SECRET-KEY-1|"kty"[^}]*"d"\s*:|"d"\s*:[^}]*"kty"`)

// Parts of secretSetting: the end of a setting's name, and a value in quotes, in which those may be
// escaped or doubled, or in quotes that are escaped themselves, as JSON in JSON has them.
const (
	secretWord = `(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credential|sig|signature|auth|` +
		`[_-]key|(?-i:[a-z]Key)|(?:api|access|account|secret|private|shared|signing|encryption|master|session)key|[?&]key)s?`
	quotedValue = `"(?:[^"\\]|\\.|"")+"|'(?:[^'\\]|\\.|'')+'|\\+"(?s:.*?[^\\])\\+"`
)

// secretSetting matches "password=…" in a list of settings, a query, JSON or YAML. Each of its three
// groups is such a value: of a list with ";", where it may have spaces; after a colon and a space, where
// it has the rest of the line; and anywhere else.
var secretSetting = compileLater(`(?i)(?:` +
	`;[\w ]*` + secretWord + `\s*=\s*(` + quotedValue + `|[^;"'\s][^;]*)|` +
	secretWord + `\\*["']?\s*:[ \t]+(` + quotedValue + `|[\[{](?s:.*)|[^\s"'|>][^\n]*)|` +
	secretWord + `\\*["']?\s*[=:]\s*(` + quotedValue + `|[\[{](?s:.*)|[^\s;&"'\\][^\s;&]*))`)

// nextSetting matches what ends a value without quotes: the next setting, or brackets and quotes around
// the whole.
var nextSetting = compileLater(`\\*["']?\s*[,;&]\s*\\*["']?[\w.-]+\\*["']?\s*[=:]|\\*["'}\]),]+$`)

// secretParts match text with a secret in it. The first group of each is the secret.
var secretParts = []func() *regexp.Regexp{
	// The password of a URL, which may hold "@", and one that should have been escaped.
	compileLater(`://[^\s/?#:@]*:([^\s/?#]+)@`),
	compileLater(`://[^\s/?#:@]*:([^\s@,]*[/?#][^\s@,]*)@`),
	// A token in place of a URL's user.
	compileLater(`://([^\s/?#:@]{20,})@`),
	// "user:password@tcp(host)/name", as Go's MySQL driver has it.
	compileLater(`^[^\s:/@]+:(\S+)@\w+\(`),
	// The same without a protocol, as proxies and message queues are named; no image with a digest.
	compileLater(`^[^\s:/@]+:([^\s/@]+)@[\w.-]+(?::\d{2,5}\b|/|$)`),
	// "user/password@host:port/name", as Oracle has it.
	compileLater(`^(?:jdbc:oracle:\w+:)?[^\s/@:]+/([^\s@]+)@(?://|[\w.-]+:\d{2,5}\b)`),
	// "--password word" and "--user name:password" in a command line.
	compileLater(`(?i)(?:^|\s)--?[\w.-]*` + secretWord + `[ \t]+(` + quotedValue + `|[^\s"'-]\S*)`),
	compileLater(`(?:^|\s)(?:-u|--user)[ \t=]+[^\s:]+:(\S+)`),
	// A header.
	compileLater(`(?i)\b(?:bearer|basic)\s+([A-Za-z0-9+/._~=-]{8,})`),
	// A JWT.
	compileLater(`(\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)`),
	// Tokens that say what they are: GitHub's, GitLab's, Slack's, Stripe's, AWS's, Google's, npm's, Vault's,
	// and those of the many that begin with "sk-".
	compileLater(`(\b(?:gh[opusr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|[rs]k_live_[A-Za-z0-9]{10,}` +
		`|(?:AKIA|ASIA)[A-Z0-9]{16}\b|AIza[A-Za-z0-9_-]{35}|npm_[A-Za-z0-9]{36}|hv[sb]\.[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9_-]{20,}))`),
	compileLater(`(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/(\S+)`),
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
		case word == "PWD" && name != "PWD" && name != "OLDPWD", word == "PAT", word == "JWT", word == "COOKIE", word == "PIN", word == "SALT":
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
