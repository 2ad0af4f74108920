package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// The rights that kdiag's requests for pods need.
var (
	getPods   = accessRight{verb: "get", resource: "pods"}
	listPods  = accessRight{verb: "list", resource: "pods"}
	watchPods = accessRight{verb: "watch", resource: "pods"}
	// To add a container to a pod that runs (KEP-277).
	patchEphemeral = accessRight{verb: "patch", resource: "pods", subresource: "ephemeralcontainers"}
	createExec     = accessRight{verb: "create", resource: "pods", subresource: "exec"}
	getLog         = accessRight{verb: "get", resource: "pods", subresource: "log"}
	// Every user has this one, by Kubernetes' own roles.
	askRights     = accessRight{verb: "create", group: "authorization.k8s.io", resource: "selfsubjectaccessreviews"}
	createForward = accessRight{verb: "create", resource: "pods", subresource: "portforward"}
	// To begin a WebSocket is a "get" to the API server. It asks for "create"
	// besides (1.35), and SPDY for nothing else: without "get" kdiag takes that.
	getExec    = accessRight{verb: "get", resource: "pods", subresource: "exec"}
	getForward = accessRight{verb: "get", resource: "pods", subresource: "portforward"}
)

// accessRight is one right in RBAC's terms.
type accessRight struct {
	verb, group, resource, subresource, namespace, name string
}

// scopedTo is the right for one namespace, and for one object where there is a name.
func (a accessRight) scopedTo(namespace, name string) accessRight {
	a.namespace, a.name = namespace, name
	return a
}

func (a accessRight) String() string { return a.verb + " " + a.groupResource() }

// groupResource is the resource, with its group and subresource.
func (a accessRight) groupResource() string {
	resource := a.resource
	if a.group != "" {
		resource += "." + a.group
	}
	if a.subresource != "" {
		resource += "/" + a.subresource
	}
	return resource
}

// roleResource is the resource with its subresource, as a Role names it.
func (a accessRight) roleResource() string {
	a.group = ""
	return a.groupResource()
}

// CommandRights is what one of kdiag's commands needs to be allowed, as "get,
// list pods", and what of it this user is not, each as a verb and a resource:
// "create pods/exec".
type CommandRights struct {
	Command string
	Needed  []string
	Lacking []string
}

// CommandNames are the commands that CheckRights tells of, in its order.
func CommandNames() []string {
	var names []string
	for _, rights := range rightsOf {
		if rights.reviewed {
			names = append(names, rights.command)
		}
	}
	return names
}

// listNeeded are the rights that a command needs for one pod, or, without its
// name, for whatever may be named.
func (r commandRights) listNeeded(pod string) []accessRight {
	var rights []accessRight
	for _, u := range r.required {
		rights = append(rights, u.accessRight)
		if u.accessRight == getPods && pod == "" {
			rights = append(rights, listPods)
		}
	}
	return withoutDuplicates(rights)
}

// withoutDuplicates are rights without those that are there already.
func withoutDuplicates(rights []accessRight) []accessRight {
	var kept []accessRight
	for _, right := range rights {
		if !slices.Contains(kept, right) {
			kept = append(kept, right)
		}
	}
	return kept
}

// CheckRights asks the API server for every right that kdiag's commands need in the
// cluster's namespace; for one pod, where it has a name.
func (c *Cluster) CheckRights(ctx context.Context, pod string) ([]CommandRights, error) {
	var all []accessRight
	for _, command := range rightsOf {
		if command.reviewed {
			all = append(all, command.listNeeded(pod)...)
		}
	}

	may, err := c.reviewAllAccess(ctx, withoutDuplicates(all), pod)
	if err != nil {
		return nil, err
	}

	var answers []CommandRights
	for _, command := range rightsOf {
		if !command.reviewed {
			continue
		}

		needed := command.listNeeded(pod)
		answer := CommandRights{Command: command.command, Needed: groupByResource(needed)}
		for _, right := range needed {
			if !may[right] {
				answer.Lacking = append(answer.Lacking, right.String())
			}
		}

		answers = append(answers, answer)
	}

	return answers, nil
}

// groupByResource says rights to the same resource, which stand together, as one.
func groupByResource(rights []accessRight) []string {
	var groups []string
	verbs := ""
	for i, right := range rights {
		verbs += right.verb
		if i+1 < len(rights) && rights[i+1].groupResource() == right.groupResource() {
			verbs += ", "
			continue
		}
		groups = append(groups, verbs+" "+right.groupResource())
		verbs = ""
	}

	return groups
}

func (c *Cluster) reviewAllAccess(ctx context.Context, rights []accessRight, pod string) (map[accessRight]bool, error) {
	may := map[accessRight]bool{}
	var first error
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, right := range rights {
		asked.Go(func() {
			name := pod
			if right == listPods {
				name = "" // a list is of all
			}

			answer, err := c.reviewAccess(ctx, right.scopedTo(c.Namespace, name))
			mu.Lock()
			defer mu.Unlock()
			may[right] = answer
			if err != nil && first == nil {
				first = c.explainError(ctx, "check the right to "+right.String(), askRights, err)
			}
		})
	}

	asked.Wait()
	return may, first
}

// roleHint is the hint for want of rights, each as "create pods/exec".
func roleHint(lacking ...string) string {
	wanted := make([]string, len(lacking))
	for i, right := range lacking {
		verb, on, _ := strings.Cut(right, " ")
		wanted[i] = fmt.Sprintf("the verb %q on %s", verb, on)
	}
	return "ask for a role with " + strings.Join(wanted, ", ")
}

// Hint is whom to ask for what is lacking; empty if nothing is.
func (r CommandRights) Hint() string {
	if len(r.Lacking) == 0 {
		return ""
	}
	return roleHint(r.Lacking...)
}
