package logs

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"text/template"
	"time"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// formatter makes a line's text for the user, newline and all, behind to.
type formatter func(to []byte, l *podLine) ([]byte, error)

// stampLayout is RFC3339 with all nine digits, so that columns stay in line.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// newTextFormat is "pod container line", with colours where paint has some.
func newTextFormat(timestamps bool, paint painter) formatter {
	return func(to []byte, l *podLine) ([]byte, error) {
		to = paint.appendPod(to, l.Pod)
		to = append(to, ' ')
		to = paint.appendContainer(to, l.Container, l.Pod)
		to = append(to, ' ')
		if timestamps {
			to = append(l.Time.AppendFormat(to, stampLayout), ' ')
		}
		to = paint.appendText(to, l.Text)
		return append(to, '\n'), nil
	}
}

// newRawFormat is the line alone.
func newRawFormat(timestamps bool, paint painter) formatter {
	return func(to []byte, l *podLine) ([]byte, error) {
		if timestamps {
			to = append(l.Time.AppendFormat(to, stampLayout), ' ')
		}
		return append(paint.appendText(to, l.Text), '\n'), nil
	}
}

// record is a line as a program reads it, and as a template does.
type record struct {
	Time      time.Time `json:"time"`
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	Container string    `json:"container"`
	Node      string    `json:"node,omitempty"`
	// Stream is "all": the API tells stdout from stderr only where an alpha
	// feature is on (KEP-3288).
	Stream string `json:"stream"`
	Line   string `json:"line"`
}

func newRecord(l *podLine) record {
	return record{l.Time, l.Namespace, l.Pod, l.Container, l.Node, "all", string(l.Text)}
}

// printable is the record for a terminal: names are made printable, the line stays
// as it is.
func (r record) printable() record {
	r.Namespace, r.Pod = wire.Printable(r.Namespace), wire.Printable(r.Pod)
	r.Container, r.Node = wire.Printable(r.Container), wire.Printable(r.Node)
	return r
}

// formatJSON is one object for each line. What is no UTF-8 becomes U+FFFD.
func formatJSON(to []byte, l *podLine) ([]byte, error) {
	buffer := bytes.NewBuffer(to)
	err := applets.WriteJSON(buffer, newRecord(l), "")
	return buffer.Bytes(), err
}

// newTemplateFormat is a Go template that is given a record. It has a function
// json; a newline is added where the template makes none.
func newTemplateFormat(text string) (formatter, error) {
	parsed, err := template.New("template").Funcs(template.FuncMap{"json": toJSON}).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, err
	}

	format := func(to []byte, l *podLine) ([]byte, error) {
		buffer := bytes.NewBuffer(to)
		err := parsed.Execute(buffer, newRecord(l).printable())
		if text := buffer.Bytes(); len(text) == 0 || text[len(text)-1] != '\n' {
			buffer.WriteByte('\n')
		}
		return buffer.Bytes(), err
	}

	// What it does not know is to be said before the first line comes.
	_, err = format(nil, &podLine{})
	return format, err
}

func toJSON(v any) (string, error) {
	var text strings.Builder
	err := applets.WriteJSON(&text, v, "")
	return strings.TrimSuffix(text.String(), "\n"), err
}

// compilePatterns compiles the values of a flag.
func compilePatterns(flag string, texts []string) ([]*regexp.Regexp, error) {
	var list []*regexp.Regexp
	for _, text := range texts {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		list = append(list, pattern)
	}
	return list, nil
}
