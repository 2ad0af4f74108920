package env

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// document holds what -o json prints and what the other formats show.
type document struct {
	Time      time.Time    `json:"time"`
	Namespace string       `json:"namespace"`
	Pod       string       `json:"pod"`
	Container string       `json:"container"`
	Profile   kube.Profile `json:"profile"`
	PID       int          `json:"pid"`

	// Variables has the process's order.
	Variables []variable `json:"variables"`
	// Missing names variables of the pod's spec that the process does not have.
	Missing []string `json:"missing,omitzero"`
	// Unnamed counts entries that are no NAME=VALUE.
	Unnamed int  `json:"unnamed,omitzero"`
	Cut     bool `json:"cut,omitzero"`
}

// variable is one variable of the process.
type variable struct {
	Name string `json:"name"`
	// Value has no secret if Masked is set. Bytes holds it in base64 if it is not UTF-8.
	Value  string `json:"value"`
	Bytes  string `json:"bytes,omitempty"`
	Masked bool   `json:"masked,omitzero"`
	// Repeated says that an earlier variable has the same name, which is the one that programs get.
	Repeated bool   `json:"repeated,omitzero"`
	From     origin `json:"from"`
	// Changed says that the value is another than the pod's spec sets.
	Changed bool `json:"changed,omitzero"`
}

// newDocument ties the variables of a process to the pod's spec.
func newDocument(target kube.TargetContainer, injected kube.Injected, taken wire.Environment) document {
	d := document{
		Time: taken.Time, Namespace: target.Pod.Namespace, Pod: target.Pod.Name, Container: target.Container,
		Profile: injected.Profile, PID: taken.PID, Variables: []variable{}, Cut: taken.Cut,
	}
	d.addEntries(taken.Entries)

	spec := readSpec(target.Pod, target.Container)
	values := map[string]string{}
	for _, v := range d.Variables {
		if !v.Repeated {
			values[v.Name] = v.Value
		}
	}

	for i := range d.Variables {
		v := &d.Variables[i]
		v.From = spec.findOrigin(v.Name, v.Value)
		v.Changed = spec.isChanged(v.Name, v.Value, values)
	}

	for _, name := range spec.listNames() {
		if _, there := values[name]; !there && !taken.Cut {
			d.Missing = append(d.Missing, name)
		}
	}

	return d
}

// addEntries splits the entries of a process's environment.
func (d *document) addEntries(entries [][]byte) {
	seen := map[string]bool{}
	for _, entry := range entries {
		name, value, ok := bytes.Cut(entry, []byte("="))
		if !ok || len(name) == 0 {
			d.Unnamed++
			continue
		}

		v := variable{Name: string(name), Value: string(value), Repeated: seen[string(name)]}
		if !utf8.Valid(value) {
			v.Bytes = base64.StdEncoding.EncodeToString(value)
		}

		seen[v.Name] = true
		d.Variables = append(d.Variables, v)
	}
}

// notes says what the reader should know of the document.
func (d *document) notes() []string {
	var notes []string
	if masked := d.countMasked(); masked > 0 {
		notes = append(notes, applets.CountOf(masked, "value is masked", "values are masked")+" (--show shows them)")
	}
	if len(d.Missing) > 0 {
		notes = append(notes, "the pod's spec sets variables that the process does not have: "+listSome(d.Missing))
	}
	if d.Unnamed > 0 {
		notes = append(notes, fmt.Sprintf("left out %s without a name: the process has written over its environment",
			applets.CountOf(d.Unnamed, "entry", "entries")))
	}
	if d.Cut {
		notes = append(notes, fmt.Sprintf("the environment is longer than %d bytes; the rest was left out", wire.MaxEnvironment))
	}

	return notes
}

// countMasked counts the variables whose values are masked.
func (d *document) countMasked() (count int) {
	for _, v := range d.Variables {
		if v.Masked {
			count++
		}
	}
	return count
}

// listSome lists names, a few at most.
func listSome(names []string) string {
	const limit = 8
	more := ""
	if len(names) > limit {
		more = fmt.Sprintf(" and %d more", len(names)-limit)
	}
	return strings.Join(slices.Clone(names[:min(len(names), limit)]), ", ") + more
}
