package logs

import (
	"bytes"
	"strings"
	"text/template"
	"time"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// formatter appends a line's text for the user, including the newline, to a buffer.
type formatter func(to []byte, l *podLine) ([]byte, error)

// stampLayout keeps all nine digits of RFC 3339 times, so that columns line up and texts
// sort as times do. Times are in UTC.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// newTextFormat formats "pod container line", coloured by paint.
func newTextFormat(timestamps bool, paint painter) formatter {
	return func(to []byte, l *podLine) ([]byte, error) {
		begin := len(to)
		to = paint.appendPod(to, l.Pod)
		to = append(to, ' ')
		to = paint.appendContainer(to, l.Container, l.Pod)
		to = append(to, ' ')
		if timestamps {
			to = append(l.Time.AppendFormat(to, stampLayout), ' ')
		}
		to = paint.appendText(to, to[begin:], l.Text)
		return append(to, '\n'), nil
	}
}

// newRawFormat formats the line alone.
func newRawFormat(timestamps bool, paint painter) formatter {
	return func(to []byte, l *podLine) ([]byte, error) {
		begin := len(to)
		if timestamps {
			to = append(l.Time.AppendFormat(to, stampLayout), ' ')
		}
		return append(paint.appendText(to, to[begin:], l.Text), '\n'), nil
	}
}

// stamp is a time that has one width in JSON.
type stamp struct{ time.Time }

// MarshalJSON writes the time with all its digits.
func (s stamp) MarshalJSON() ([]byte, error) {
	return s.UTC().AppendFormat(nil, `"`+stampLayout+`"`), nil
}

// record holds a line for JSON output and for templates.
type record struct {
	Time      stamp  `json:"time"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	Node      string `json:"node,omitempty"`
	// Stream is always "all": the API separates stdout and stderr only with an
	// alpha feature (KEP-3288).
	Stream string `json:"stream"`
	Line   string `json:"line"`
}

func newRecord(l *podLine) record {
	return record{stamp{l.Time}, l.Namespace, l.Pod, l.Container, l.Node, "all", string(l.Text)}
}

// printable returns the record with its names made printable. The line stays as it
// is.
func (r record) printable() record {
	r.Namespace, r.Pod = wire.Printable(r.Namespace), wire.Printable(r.Pod)
	r.Container, r.Node = wire.Printable(r.Container), wire.Printable(r.Node)
	return r
}

// formatJSON formats each line as one JSON object. Invalid UTF-8 becomes U+FFFD.
func formatJSON(to []byte, l *podLine) ([]byte, error) {
	buffer := bytes.NewBuffer(to)
	err := applets.WriteJSON(buffer, newRecord(l), "")
	return buffer.Bytes(), err
}

// newTemplateFormat formats each line by a Go template, which gets a record and a
// function json. It adds a newline if the template ends without one.
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

	// A dry run reports unknown fields before the first line comes.
	_, err = format(nil, &podLine{})
	return format, err
}

func toJSON(v any) (string, error) {
	var text strings.Builder
	err := applets.WriteJSON(&text, v, "")
	return strings.TrimSuffix(text.String(), "\n"), err
}
