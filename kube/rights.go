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
	getPods   = access{verb: "get", resource: "pods"}
	listPods  = access{verb: "list", resource: "pods"}
	watchPods = access{verb: "watch", resource: "pods"}
	// To add a container to a pod that runs (KEP-277).
	patchEphemeral = access{verb: "patch", resource: "pods", subresource: "ephemeralcontainers"}
	createExec     = access{verb: "create", resource: "pods", subresource: "exec"}
	getLog         = access{verb: "get", resource: "pods", subresource: "log"}
	// Every user has this one, by Kubernetes' own roles.
	askRights = access{verb: "create", group: "authorization.k8s.io", resource: "selfsubjectaccessreviews"}
	// To begin a WebSocket is a "get" to the API server. It asks for "create"
	// besides (1.35), and SPDY for nothing else.
	createForward = access{verb: "create", resource: "pods", subresource: "portforward"}
)

// needs is which of them each command cannot do without.
var needs = []struct {
	command string
	rights  []access
}{
	{"shell", []access{getPods, listPods, watchPods, patchEphemeral, createExec}},
	{"redir", []access{getPods, listPods, watchPods, patchEphemeral, getLog, createForward}},
	{"logs", []access{listPods, watchPods, getLog}},
}

// access is one right in RBAC's terms.
type access struct {
	verb, group, resource, subresource, namespace, name string
}

// in is the right for one namespace, and for one object where there is a name.
func (a access) in(namespace, name string) access {
	a.namespace, a.name = namespace, name
	return a
}

func (a access) String() string { return a.verb + " " + a.on() }

// on is the resource, with its group and subresource.
func (a access) on() string {
	resource := a.resource
	if a.group != "" {
		resource += "." + a.group
	}
	if a.subresource != "" {
		resource += "/" + a.subresource
	}
	return resource
}

// CommandRights is what one of kdiag's commands needs to be allowed, as "get,
// list pods", and what of it this user is not, each as a verb and a resource:
// "create pods/exec".
type CommandRights struct {
	Command string
	Needed  []string
	Lacking []string
}

// CommandNames are the commands that Rights tells of, in its order.
func CommandNames() []string {
	names := make([]string, len(needs))
	for i, need := range needs {
		names[i] = need.command
	}
	return names
}

// Rights asks the API server for every right that kdiag's commands need in the
// cluster's namespace; for one pod, where it has a name.
func (c *Cluster) Rights(ctx context.Context, pod string) ([]CommandRights, error) {
	var rights []access
	for _, need := range needs {
		for _, right := range need.rights {
			if !slices.Contains(rights, right) {
				rights = append(rights, right)
			}
		}
	}
	may, err := c.reviewAll(ctx, rights, pod)
	if err != nil {
		return nil, err
	}
	answers := make([]CommandRights, len(needs))
	for i, need := range needs {
		answers[i].Command = need.command
		answers[i].Needed = grouped(need.rights)
		for _, right := range need.rights {
			if !may[right] {
				answers[i].Lacking = append(answers[i].Lacking, right.String())
			}
		}
	}
	return answers, nil
}

// grouped says rights to the same resource, which stand together, as one.
func grouped(rights []access) []string {
	var groups []string
	verbs := ""
	for i, right := range rights {
		verbs += right.verb
		if i+1 < len(rights) && rights[i+1].on() == right.on() {
			verbs += ", "
			continue
		}
		groups = append(groups, verbs+" "+right.on())
		verbs = ""
	}
	return groups
}

func (c *Cluster) reviewAll(ctx context.Context, rights []access, pod string) (map[access]bool, error) {
	may := map[access]bool{}
	var first error
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, right := range rights {
		asked.Go(func() {
			name := pod
			if right == listPods {
				name = "" // a list is of all
			}
			answer, err := c.review(ctx, right.in(c.Namespace, name))
			mu.Lock()
			defer mu.Unlock()
			may[right] = answer
			if err != nil && first == nil {
				first = c.explain(ctx, "ask for the right to "+right.String(), askRights, err)
			}
		})
	}
	asked.Wait()
	return may, first
}

// askForRole is the hint for want of rights, each as "create pods/exec".
func askForRole(lacking ...string) string {
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
	return askForRole(r.Lacking...)
}
