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
	rightGetPods   = accessRight{verb: "get", resource: "pods"}
	rightListPods  = accessRight{verb: "list", resource: "pods"}
	rightWatchPods = accessRight{verb: "watch", resource: "pods"}
	// rightPatchEphemeral adds a container to a pod that runs (KEP-277).
	rightPatchEphemeral = accessRight{verb: "patch", resource: "pods", subresource: "ephemeralcontainers"}
	rightCreateExec     = accessRight{verb: "create", resource: "pods", subresource: "exec"}
	rightGetLog         = accessRight{verb: "get", resource: "pods", subresource: "log"}
	// rightCreateReview is granted to every user by Kubernetes' own roles.
	rightCreateReview  = accessRight{verb: "create", group: "authorization.k8s.io", resource: "selfsubjectaccessreviews"}
	rightCreateForward = accessRight{verb: "create", resource: "pods", subresource: "portforward"}
	// A WebSocket begins with a "get". It needs "create" as well (1.35), which is all that
	// SPDY needs: without "get" kdiag falls back to SPDY.
	rightGetExec    = accessRight{verb: "get", resource: "pods", subresource: "exec"}
	rightGetForward = accessRight{verb: "get", resource: "pods", subresource: "portforward"}
)

// accessRight describes one right in RBAC's terms.
type accessRight struct {
	verb, group, resource, subresource, namespace, name string
}

// scopedTo returns the right for one namespace, and for one object if there is a name.
func (a accessRight) scopedTo(namespace, name string) accessRight {
	a.namespace, a.name = namespace, name
	return a
}

func (a accessRight) String() string { return a.verb + " " + a.groupResource() }

// groupResource returns the resource with its group and subresource: "deployments.apps".
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

// roleResource returns the resource with its subresource, as a Role names it: "pods/exec".
func (a accessRight) roleResource() string {
	a.group = ""
	return a.groupResource()
}

// RightsReview compares the rights that one of kdiag's commands needs with those of the user.
type RightsReview struct {
	Command string
	// Needed lists what the command needs, as "get, list pods".
	Needed []string
	// Lacking lists what the user is not allowed to do, as "create pods/exec".
	Lacking []string
}

// CommandNames lists the commands that CheckRights checks, in its order.
func CommandNames() []string {
	var names []string
	for _, rights := range rightsOf {
		if rights.reviewed {
			names = append(names, rights.command)
		}
	}
	return names
}

// listNeeded lists the rights that a command needs for one pod, or for any target if the pod's
// name is empty.
func (r rightsEntry) listNeeded(pod string) []accessRight {
	var rights []accessRight
	for _, u := range r.required {
		rights = append(rights, u.accessRight)
		if u.accessRight == rightGetPods && pod == "" && r.command != NodeCommand {
			rights = append(rights, rightListPods)
			for _, u := range r.following {
				rights = append(rights, u.accessRight)
			}
		}
	}

	return withoutDuplicates(rights)
}

// withoutDuplicates returns each right once, in the same order.
func withoutDuplicates(rights []accessRight) []accessRight {
	var kept []accessRight
	for _, right := range rights {
		if !slices.Contains(kept, right) {
			kept = append(kept, right)
		}
	}
	return kept
}

// CheckRights asks the API server about every right that kdiag's commands need in the cluster's
// namespace, for one pod or, if its name is empty, for any target.
func (c *Cluster) CheckRights(ctx context.Context, pod string) ([]RightsReview, error) {
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

	var answers []RightsReview
	for _, command := range rightsOf {
		if !command.reviewed {
			continue
		}

		needed := command.listNeeded(pod)
		answer := RightsReview{Command: command.command, Needed: groupByResource(needed)}
		for _, right := range needed {
			if !may[right] {
				answer.Lacking = append(answer.Lacking, right.String())
			}
		}

		answers = append(answers, answer)
	}

	return answers, nil
}

// groupByResource joins the verbs of neighbouring rights to the same resource: "get, list pods".
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

// reviewAllAccess asks the API server about several rights at once.
func (c *Cluster) reviewAllAccess(ctx context.Context, rights []accessRight, pod string) (map[accessRight]bool, error) {
	may := map[accessRight]bool{}
	var first error
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, right := range rights {
		asked.Go(func() {
			name := pod
			if right == rightListPods || right == rightCreatePods {
				name = "" // nobody lists a single pod, or creates one that is there
			}

			answer, err := c.reviewAccess(ctx, right.scopedTo(c.Namespace, name))
			mu.Lock()
			defer mu.Unlock()
			may[right] = answer
			if err != nil && first == nil {
				first = c.explainError(ctx, "check the right to "+right.String(), rightCreateReview, err)
			}
		})
	}

	asked.Wait()
	return may, first
}

// roleHint tells the user which rights to ask for, each given as "create pods/exec".
func roleHint(lacking ...string) string {
	wanted := make([]string, len(lacking))
	for i, right := range lacking {
		verb, on, _ := strings.Cut(right, " ")
		wanted[i] = fmt.Sprintf("the verb %q on %s", verb, on)
	}
	return "ask for a role with " + strings.Join(wanted, ", ")
}

// Hint tells the user which rights to ask for. It is empty if none is lacking.
func (r RightsReview) Hint() string {
	if len(r.Lacking) == 0 {
		return ""
	}
	return roleHint(r.Lacking...)
}
