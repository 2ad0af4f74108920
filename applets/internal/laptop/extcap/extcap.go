// Package extcap speaks with Wireshark as its capture programs do (extcap(4)): it reads what
// Wireshark asks for, and writes the sentences that it answers with.
package extcap

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Action is what Wireshark asks for.
type Action int

const (
	// ListInterfaces asks for the interfaces to choose from.
	ListInterfaces Action = iota + 1
	// CheckFilter asks what is wrong with a filter.
	CheckFilter
	// ListLinkTypes asks for the link types of an interface.
	ListLinkTypes
	// ListArguments asks for the options of an interface, for a window.
	ListArguments
	// ReloadArgument asks for the values of one option again.
	ReloadArgument
	// Capture asks for packets.
	Capture
)

// Call is one call by Wireshark.
type Call struct {
	Action    Action
	Interface string
	// Fifo is the file to write packets to, and Filter what they must match.
	Fifo, Filter string
	// Reload names the option that ReloadArgument is about, without dashes.
	Reload string
	// Options has what the user chose, by the options' names without dashes.
	Options map[string]string
}

// prefix is what the flags begin with by which Wireshark's calls are told from a user's commands.
const prefix = "--extcap-"

// IsCall reports whether a command line is one of Wireshark's. No command of a user's begins like
// them.
func IsCall(args []string) bool {
	if len(args) == 0 {
		return false
	}

	isFlag := func(arg string) bool { return strings.HasPrefix(arg, prefix) }

	return isFlag(args[0]) || args[0] == "--capture" && slices.ContainsFunc(args, isFlag)
}

// ParseCall reads a command line of Wireshark's. Flags that a newer Wireshark has are among the
// options.
func ParseCall(args []string) (Call, error) {
	call := Call{Options: map[string]string{}}
	flags, err := splitFlags(args)
	if err != nil {
		return call, err
	}

	hasFilter := false
	asked := map[string]Action{
		"extcap-interfaces": ListInterfaces, "extcap-dlts": ListLinkTypes,
		"extcap-config": ListArguments, "capture": Capture,
	}
	for _, flag := range flags {
		if action, isAction := asked[flag.name]; isAction {
			call.Action = max(call.Action, action)
			continue
		}

		switch flag.name {
		case "extcap-interface":
			call.Interface = flag.value
		case "extcap-capture-filter":
			call.Filter, hasFilter = flag.value, true
		case "extcap-reload-option":
			call.Reload = strings.TrimLeft(flag.value, "-")
		case "fifo":
			call.Fifo = flag.value
		default:
			call.Options[flag.name] = flag.value
		}
	}

	switch {
	case call.Action == ListArguments && call.Reload != "":
		call.Action = ReloadArgument
	case call.Action == 0 && hasFilter:
		call.Action = CheckFilter
	}

	return call, call.verify()
}

// verify returns an error for a call that lacks something.
func (c Call) verify() error {
	switch {
	case c.Action == 0:
		return fmt.Errorf("the call has none of --extcap-interfaces, --extcap-dlts, --extcap-config and --capture")
	case c.Action != ListInterfaces && c.Interface == "":
		return fmt.Errorf("the call has no --extcap-interface")
	case c.Action == Capture && c.Fifo == "":
		return fmt.Errorf("the call has no --fifo")
	}

	return nil
}

// flag is one flag of a call, without dashes.
type flag struct{ name, value string }

// splitFlags takes a command line apart. A flag's value is behind "=", or the next word unless that
// is a flag.
func splitFlags(args []string) (flags []flag, err error) {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if !strings.HasPrefix(word, "--") {
			return nil, fmt.Errorf("unexpected argument %q", word)
		}

		name, value, hasValue := strings.Cut(word[2:], "=")
		if !hasValue && len(args) > 0 && takesValue(name, args[0]) {
			value, args = args[0], args[1:]
		}

		flags = append(flags, flag{name, value})
	}

	return flags, nil
}

// takesValue reports whether the word behind a flag is its value.
func takesValue(name, next string) bool {
	switch name {
	case "extcap-interfaces", "extcap-dlts", "extcap-config", "capture":
		return false
	case "extcap-interface", "extcap-capture-filter", "extcap-reload-option", "fifo":
		return true
	}

	return !strings.HasPrefix(next, "--")
}

// Sentence is one line of an answer.
type Sentence struct {
	kind  string
	pairs []pair
}

type pair struct{ name, value string }

// NewSentence begins a line of a kind, such as "arg".
func NewSentence(kind string) *Sentence { return &Sentence{kind: kind} }

// With adds a value.
func (s *Sentence) With(name, value string) *Sentence {
	s.pairs = append(s.pairs, pair{name, value})

	return s
}

// String returns the line, without its end.
func (s *Sentence) String() string {
	var text strings.Builder
	text.WriteString(s.kind + " ")
	for _, p := range s.pairs {
		text.WriteString("{" + p.name + "=" + escape(p.value) + "}")
	}

	return text.String()
}

// escape makes a text one that cannot end a value: Wireshark knows no escape for a brace. What is
// not UTF-8 becomes a replacement character.
func escape(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '{':
			return '('
		case r == '}':
			return ')'
		case r < ' ':
			return ' '
		}
		return r
	}, text)
}

// Argument is an option that the user can set in Wireshark's window.
type Argument struct {
	// Name is the option, without dashes; Display is what the window calls it.
	Name, Display, Tooltip string
	// Type is one of extcap(4): string, selector, boolflag, fileselect …
	Type string
	// Group is the tab that it stands in.
	Group string
	// Default is the value to begin with.
	Default string
	// Placeholder shows in an empty field.
	Placeholder string
	// Reload gives the window a button to ask for the values again.
	Reload bool
	// Values are what a selector offers.
	Values []Value
}

// Value is what a selector offers: what is passed, and what the user reads.
type Value struct{ Value, Display string }

// WriteArguments writes options and their values.
func WriteArguments(out io.Writer, arguments []Argument) error {
	for number, argument := range arguments {
		if _, err := fmt.Fprintln(out, argument.sentence(number)); err != nil {
			return err
		}

		if err := WriteValues(out, number, argument); err != nil {
			return err
		}
	}

	return nil
}

// sentence returns the line that describes an option.
func (a Argument) sentence(number int) *Sentence {
	s := NewSentence("arg").With("number", fmt.Sprint(number)).With("call", "--"+a.Name).
		With("display", a.Display).With("type", a.Type)
	for _, p := range []pair{
		{"tooltip", a.Tooltip}, {"group", a.Group}, {"placeholder", a.Placeholder},
	} {
		if p.value != "" {
			s.With(p.name, p.value)
		}
	}

	if a.Default != "" && a.Type != "selector" {
		s.With("default", a.Default)
	}
	if a.Reload {
		s.With("reload", "true")
	}

	return s
}

// WriteValues writes what a selector offers. The default is marked.
func WriteValues(out io.Writer, number int, argument Argument) error {
	for _, value := range argument.Values {
		s := NewSentence("value").With("arg", fmt.Sprint(number)).With("value", value.Value).
			With("display", value.Display)
		if value.Value == argument.Default {
			s.With("default", "true")
		}

		if _, err := fmt.Fprintln(out, s); err != nil {
			return err
		}
	}

	return nil
}
