package role

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"kdiag/kube"
)

// formatManifest formats the YAML: a Role, and a RoleBinding if there are subjects.
func (o options) formatManifest() string {
	var b strings.Builder
	b.WriteString(o.headingComment())
	b.WriteString(streamsComment(o.rights.Required))
	b.WriteString(o.objectHeader("Role"))
	b.WriteString("rules:\n")
	writeRules(&b, "", o.rights.Required)

	if len(o.rights.Optional) > 0 {
		prefix := "# "
		if o.granted {
			prefix = ""
			b.WriteString("\n# Optional: the commands also work without these, but not as well.\n")
		} else {
			b.WriteString("\n# Optional: the commands also work without these, but not as well. To grant them: role --optional\n")
		}
		writeRules(&b, prefix, o.rights.Optional)
	}

	if len(o.rights.Wider) > 0 {
		b.WriteString("\n# Optional, and only possible in a ClusterRole:\n")
		for _, right := range o.rights.Wider {
			writeUses(&b, "#   ", right, right.Verb+" "+right.Resource)
		}
	}

	if len(o.subjects) > 0 {
		b.WriteString("---\n")
		b.WriteString(o.formatBinding())
	}

	return b.String()
}

// objectHeader formats the first lines of an RBAC object.
func (o options) objectHeader(kind string) string {
	text := "apiVersion: rbac.authorization.k8s.io/v1\nkind: " + kind + "\nmetadata:\n  name: " + yamlScalar(o.name) + "\n"
	if o.namespace != "" {
		text += "  namespace: " + yamlScalar(o.namespace) + "\n"
	}
	return text
}

// streamsComment explains which verbs exec and portforward need, if there are any.
func streamsComment(rights []kube.RoleRight) string {
	streams := func(r kube.RoleRight) bool {
		return r.Resource == "pods/exec" || r.Resource == "pods/portforward"
	}
	if !slices.ContainsFunc(rights, streams) {
		return ""
	}
	return "# exec and portforward need create over SPDY. Over WebSocket they need get, and since Kubernetes 1.35\n" +
		"# create too. With create alone kdiag uses SPDY, with both it uses WebSocket.\n"
}

// writeRules writes a rule for each resource, with a comment on each verb.
func writeRules(b *strings.Builder, prefix string, rights []kube.RoleRight) {
	var written []kube.RoleRight
	for _, first := range rights {
		sameResource := func(r kube.RoleRight) bool { return r.Group == first.Group && r.Resource == first.Resource }
		if slices.ContainsFunc(written, sameResource) {
			continue
		}

		written = append(written, first)

		var verbs []string
		for _, right := range rights {
			if sameResource(right) {
				writeUses(b, "# ", right, right.Verb)
				verbs = append(verbs, right.Verb)
			}
		}

		fmt.Fprintf(b, "%s- apiGroups: [%q]\n%s  resources: [%q]\n%s  verbs: [\"%s\"]\n",
			prefix, first.Group, prefix, first.Resource, prefix, strings.Join(verbs, `", "`))
	}
}

// writeUses writes what a right is for: one line for each purpose, with the commands
// that need it.
func writeUses(b *strings.Builder, prefix string, right kube.RoleRight, name string) {
	var written []string
	for _, use := range right.Uses {
		if slices.Contains(written, use.Why) {
			continue
		}

		written = append(written, use.Why)

		var commands []string
		for _, other := range right.Uses {
			if other.Why == use.Why && !slices.Contains(commands, other.Command) {
				commands = append(commands, other.Command)
			}
		}

		fmt.Fprintf(b, "%s%s: %s (%s)\n", prefix, name, use.Why, strings.Join(commands, ", "))
	}
}

// formatBinding formats the RoleBinding.
func (o options) formatBinding() string {
	var b strings.Builder
	b.WriteString(o.objectHeader("RoleBinding"))
	b.WriteString("roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: " + yamlScalar(o.name) + "\nsubjects:\n")
	for _, s := range o.subjects {
		fmt.Fprintf(&b, "- kind: %s\n  name: %s\n", s.kind, yamlScalar(s.name))
		if s.namespace != "" {
			fmt.Fprintf(&b, "  namespace: %s\n", yamlScalar(s.namespace))
		} else {
			b.WriteString("  apiGroup: rbac.authorization.k8s.io\n")
		}
	}

	return b.String()
}

// plainWord matches words that YAML reads as strings, except for reserved ones.
var (
	plainWord = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	reserved  = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
)

// yamlScalar formats a string for YAML: as it is, or with JSON's quotes, which YAML
// accepts too (YAML 1.2.2, 1.3).
func yamlScalar(text string) string {
	if plainWord.MatchString(text) && !slices.Contains(reserved, text) {
		return text
	}
	quoted, _ := json.Marshal(text) // never fails for a string
	return string(quoted)
}
