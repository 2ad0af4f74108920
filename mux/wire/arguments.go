package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// argument ties a flag of a command line to a field: write returns the flag's words, or none
// for an empty field, and read sets the field to a value. A switch is a flag without a value.
type argument struct {
	name     string
	usage    string
	isSwitch bool
	write    func() []string
	read     func(value string) error
}

// textArgument describes --name=TEXT, left out if the text is empty.
func textArgument(field *string, name, usage string) argument {
	return argument{
		name: name, usage: usage,
		write: func() []string {
			if *field == "" {
				return nil
			}
			return []string{"--" + name + "=" + *field}
		},
		read: func(value string) error { *field = value; return nil },
	}
}

// listArgument describes --name=TEXT, once for each element.
func listArgument(field *[]string, name, usage string) argument {
	return argument{
		name: name, usage: usage,
		write: func() []string {
			words := make([]string, len(*field))
			for i, value := range *field {
				words[i] = "--" + name + "=" + value
			}
			return words
		},
		read: func(value string) error { *field = append(*field, value); return nil },
	}
}

// switchArgument describes --name, left out if the field is false.
func switchArgument(field *bool, name, usage string) argument {
	return argument{
		name: name, usage: usage, isSwitch: true,
		write: func() []string {
			if !*field {
				return nil
			}
			return []string{"--" + name}
		},
		read: func(value string) (err error) {
			*field, err = strconv.ParseBool(value)
			return err
		},
	}
}

// durationArgument describes --name=DURATION for time.ParseDuration, left out if it is 0.
func durationArgument(field *time.Duration, name, usage string) argument {
	return argument{
		name: name, usage: usage,
		write: func() []string {
			if *field == 0 {
				return nil
			}
			return []string{"--" + name + "=" + field.String()}
		},
		read: func(value string) (err error) {
			*field, err = time.ParseDuration(value)
			return err
		},
	}
}

// writeArguments writes flags in the order of the list.
func writeArguments(list []argument) []string {
	var words []string
	for _, a := range list {
		words = append(words, a.write()...)
	}
	return words
}

// parseArguments parses flags up to the first "--" and returns the words after it, or nil if
// there is none. Its error names the first flag that it does not know or cannot parse, but it
// parses the rest as well: a laptop recognizes containers of other versions by the flags that
// it does know.
func parseArguments(list []argument, words []string) (rest []string, err error) {
	known := make(map[string]argument, len(list))
	for _, a := range list {
		known[a.name] = a
	}

	for i, word := range words {
		if word == "--" {
			return append([]string{}, words[i+1:]...), err
		}
		if problem := parseArgument(known, word); err == nil {
			err = problem
		}
	}

	return nil, err
}

// parseArgument parses one flag and sets its field.
func parseArgument(known map[string]argument, word string) error {
	flag, isFlag := strings.CutPrefix(word, "--")
	if !isFlag {
		return fmt.Errorf("unexpected argument %q", word)
	}

	name, value, hasValue := strings.Cut(flag, "=")
	a, ok := known[name]
	switch {
	case !ok:
		return fmt.Errorf("%s%s", UnknownFlag, name)
	case !hasValue && !a.isSwitch:
		return fmt.Errorf("flag --%s needs a value: --%s=VALUE", name, name)
	case !hasValue:
		value = "true"
	}

	if err := a.read(value); err != nil {
		return fmt.Errorf("flag --%s: %w", name, err)
	}

	return nil
}

// describeArguments lists flags for a help page.
func describeArguments(list []argument) string {
	var text strings.Builder
	for _, a := range list {
		form := "--" + a.name
		if !a.isSwitch {
			form += "=VALUE"
		}
		fmt.Fprintf(&text, "%-24s %s\n", form, a.usage)
	}

	return text.String()
}

// refuseRest returns err, or else an error if there are words after "--".
func refuseRest(rest []string, err error) error {
	if err == nil && len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	return err
}
