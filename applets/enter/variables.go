package enter

import "strings"

// actedOn lists the variables that the shell and its tools act on: what they execute, open, connect
// to or show depends on them. The target's environment is memory that the target can rewrite at any
// time, so they are taken from it only if the user asks for one by name.
//
// The names under "busybox" are those that its source asks for, as scratch-shell/variables lists
// them; TestEveryVariableIsKnown compares the two. What a program of the target's own reads is not
// here: whoever runs one trusts the target anyway.
var actedOn = map[string]string{
	// busybox, ash: executed or expanded.
	"ENV":           "a script that an interactive shell runs when it starts",
	"PS1":           "the prompt, in which the shell runs command substitutions",
	"PS2":           "the prompt of a further line, as PS1",
	"PS4":           "the prompt of \"set -x\", as PS1",
	"IFS":           "where words are split, in every command with an expansion",
	"PATH":          "where programs are looked for that the shell does not bring",
	"CDPATH":        "where \"cd\" looks for a directory",
	"HOME":          "where \"cd\" goes, and whose .profile, .exrc and history are read",
	"HISTFILE":      "a file that the shell reads at its start and writes at its end",
	"HISTFILESIZE":  "how much of it is kept",
	"MAIL":          "a file that is looked at before each prompt",
	"MAILPATH":      "files as MAIL's, and the text that is shown",
	"TMOUT":         "ends the shell, or a read",
	"BASH_XTRACEFD": "the descriptor that \"set -x\" writes to",
	"OPTIND":        "where getopts goes on, arithmetic when it is set",
	"OPTERR":        "whether getopts says what is wrong",
	"RANDOM":        "the seed of the shell's numbers",
	"EPOCHSECONDS":  "the shell's own",
	"EPOCHREALTIME": "the shell's own",
	"SHLVL":         "the shell's own, a number that it adds to",
	"HOSTNAME":      "the shell's own, and what the prompt may show",
	"PWD":           "shown as the working directory if it leads there",
	"OLDPWD":        "where \"cd -\" goes",

	// busybox, its tools: a program, or a script in all but name.
	"SHELL":             "the program that script and unshare execute",
	"EXINIT":            "commands that vi runs when it starts, \":!\" among them",
	"BC_ENV_ARGS":       "options and files for bc",
	"LESS":              "options for less",
	"http_proxy":        "where wget connects",
	"ftp_proxy":         "where wget connects",
	"TMPDIR":            "where mktemp makes files",
	"LS_COLORS":         "escape sequences that ls writes",
	"TIME":              "what time writes",
	"TERM":              "what is written to the terminal; it is the user's",
	"COLUMNS":           "the width of the terminal, the user's",
	"LINES":             "its height",
	"USER":              "who telnet logs in as",
	"DC_LINE_LENGTH":    "where dc breaks lines",
	"BC_LINE_LENGTH":    "where bc breaks lines",
	"POSIXLY_CORRECT":   "units of df and du, options of all tools",
	"GETOPT_COMPATIBLE": "how getopt reads a line",

	"FAKE_SPARC": "what uname says",

	// musl, which all of it is linked with.
	"TZ":      "a file that is read as a time zone",
	"LANG":    "a locale",
	"NLSPATH": "where message catalogues are looked for",
	"DATEMSK": "a file with forms of dates",
	"MSGVERB": "what fmtmsg writes",
	"LOGNAME": "who getlogin says the user is",
}

// actedOnPrefixes lists beginnings of names, each of which stands for a family.
var actedOnPrefixes = map[string]string{
	"LD_":    "what a dynamic linker loads into every program",
	"LC_":    "a locale, whose files musl looks for",
	"MUSL_":  "where musl looks for locales",
	"KDIAG_": "what kdiag tells its shell",
	// A bash of the target's would run them in place of its commands.
	"BASH_FUNC_": "a function",
}

// ofTerminal lists the variables that say how large the user's terminal is, which the target cannot
// know: --target-env=all does not take them.
var ofTerminal = []string{"COLUMNS", "LINES"}

// isActedOn reports whether the shell or its tools act on a variable.
func isActedOn(name string) bool {
	if _, ok := actedOn[name]; ok {
		return true
	}

	for prefix := range actedOnPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}

	return false
}

// isVariableName reports whether programs may get a variable of that name: one of printable ASCII,
// as in a pod's spec (RelaxedEnvironmentVariableValidation). A name that is none to a shell, such as
// "a.b", is passed on by ours to what it runs (scratch-shell/busybox/other-names.patch).
func isVariableName(text string) bool {
	for _, b := range []byte(text) {
		if b < ' ' || b > '~' || b == '=' {
			return false
		}
	}
	return text != ""
}
