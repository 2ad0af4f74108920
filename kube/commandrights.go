package kube

import (
	"fmt"
	"slices"
)

// usedRight is a right and what a command does with it, in words for a Role's comment.
type usedRight struct {
	accessRight
	why string
}

// commandRights are the rights that one of kdiag's commands uses in the
// namespace of its target.
type commandRights struct {
	command string
	// required are those that it does not work without, for a pod that is named.
	required []usedRight
	// optional are those that it works better with.
	optional []usedRight
	// wider are rights that a Role cannot give, for they are the whole cluster's.
	wider []usedRight
	// reviewed says that doctor tells of them.
	reviewed bool
}

// What several commands do with a right.
var (
	findPod      = usedRight{getPods, "find a pod by its name"}
	awaitStart   = usedRight{watchPods, "wait until kdiag's container runs"}
	addContainer = usedRight{patchEphemeral, "add kdiag's container to the pod"}
	overSocket   = usedRight{getExec, "run it over a WebSocket, one round trip faster than SPDY"}
	listEvents   = usedRight{accessRight{verb: "list", resource: "events"}, "start watching events from now on"}
	watchEvents  = usedRight{accessRight{verb: "watch", resource: "events"}, "report at once what the kubelet does and why it fails"}
	namePods     = usedRight{listPods, "list the namespace's pods when the named one is not found"}
	askNode      = usedRight{accessRight{verb: "get", resource: "nodes"}, "report that the pod's node does not respond"}
)

// rightsOf is what each command needs. A test on a cluster proves it sufficient
// and minimal, verb by verb.
var rightsOf = []commandRights{
	{
		command: "shell", reviewed: true,
		required: []usedRight{findPod, awaitStart, addContainer, {createExec, "run the shell"}},
		optional: []usedRight{overSocket, listEvents, watchEvents, namePods},
		wider:    []usedRight{askNode},
	},
	{
		command: "redir", reviewed: true,
		required: []usedRight{findPod, awaitStart, addContainer, {getLog, "read which port the manager listens on"}, {createForward, "connect to the manager"}},
		optional: []usedRight{
			{getForward, "connect over a WebSocket, one round trip faster than SPDY"},
			listEvents, watchEvents, namePods, {createExec, "find the ports of one container, with -c"},
			{getExec, "find them over a WebSocket, one round trip faster than SPDY"},
		},
		wider: []usedRight{askNode},
	},
	{
		command:  "ps",
		required: []usedRight{findPod, awaitStart, addContainer, {createExec, "read the container's processes and sockets"}},
		optional: []usedRight{
			overSocket, listEvents, watchEvents,
			{listPods, "show which pods connections lead to, with --sockets"},
			{accessRight{verb: "list", resource: "services"}, "show which services connections lead to, with --sockets"},
		},
		wider: []usedRight{
			askNode,
			{listPods, "show pods of other namespaces, with --sockets"},
			{accessRight{verb: "list", resource: "services"}, "show services of other namespaces, with --sockets"},
		},
	},
	{
		command: "logs", reviewed: true,
		required: []usedRight{
			findPod, {listPods, "find the pods"}, {watchPods, "follow pods as they start, restart and end"}, {getLog, "read their logs"},
		},
	},
	{
		command:  "manage",
		required: []usedRight{findPod, awaitStart, addContainer},
		optional: []usedRight{listEvents, watchEvents, namePods},
		wider:    []usedRight{askNode},
	},
	{
		command: "doctor",
		required: []usedRight{
			findPod, {patchEphemeral, "check by dry run what would be admitted"}, {createForward, "check how streams reach the pod"},
		},
		optional: []usedRight{
			{getForward, "check whether a WebSocket works"},
			{getLog, "read what your manager in the pod found in the node's kernel"},
			{accessRight{verb: "get", resource: "namespaces"}, "read the namespace's Pod Security level when no target is named"},
			namePods,
		},
		wider: []usedRight{{accessRight{verb: "get", resource: "nodes"}, "check the node's kernel and images"}},
	},
}

// RoleCommands are the commands that a Role can be made for.
func RoleCommands() []string {
	names := make([]string, len(rightsOf))
	for i, rights := range rightsOf {
		names[i] = rights.command
	}
	return names
}

// AnyPods is the kind of target that a label selector is.
const AnyPods = "selector"

// rightsToFind are the rights that find a target of a kind, a resource or AnyPods.
func rightsToFind(kind string) ([]usedRight, error) {
	if kind == AnyPods {
		return []usedRight{{listPods, "find pods by a label selector"}}, nil
	}

	resource, ok := ParseResource(kind)
	if !ok {
		return nil, fmt.Errorf("unknown type %q", kind)
	}
	if resource == "pods" {
		return nil, nil // by name, as every command can
	}

	group := ""
	switch resource {
	case "jobs":
		group = "batch"
	case "deployments", "statefulsets", "daemonsets", "replicasets":
		group = "apps"
	}

	return []usedRight{
		{listPods, "find the pods of " + resource},
		{accessRight{verb: "get", group: group, resource: resource}, "read which pods belong to a target"},
	}, nil
}

// RoleRight is a right in RBAC's terms, and what it is for.
type RoleRight struct {
	Verb, Group string
	// Resource has its subresource: "pods/exec".
	Resource string
	Uses     []RightUse
}

// RightUse is what a command does with a right.
type RightUse struct {
	Command, Why string
}

// RoleRights are those of several commands, each right once. Of the optional ones
// none is required.
type RoleRights struct {
	Required, Optional []RoleRight
	// Wider are the whole cluster's, which a Role cannot give. All are optional.
	Wider []RoleRight
}

// RoleRightsFor returns the rights of some commands, for targets that are pods' names
// or of the kinds.
func RoleRightsFor(commands, kinds []string) (RoleRights, error) {
	var found RoleRights
	var byKind []usedRight
	for _, kind := range kinds {
		uses, err := rightsToFind(kind)
		if err != nil {
			return RoleRights{}, err
		}
		byKind = append(byKind, uses...)
	}

	for _, command := range commands {
		at := slices.IndexFunc(rightsOf, func(r commandRights) bool { return r.command == command })
		if at < 0 {
			return RoleRights{}, fmt.Errorf("no command %q needs rights", command)
		}
		rights := rightsOf[at]
		found.Required = mergeUses(found.Required, command, slices.Concat(rights.required, byKind))
		found.Optional = mergeUses(found.Optional, command, rights.optional)
		found.Wider = mergeUses(found.Wider, command, rights.wider)
	}

	// What one command needs is no option for another.
	found.Optional = slices.DeleteFunc(found.Optional, func(r RoleRight) bool {
		at := slices.IndexFunc(found.Required, r.isSameRight)
		if at >= 0 {
			found.Required[at].Uses = append(found.Required[at].Uses, r.Uses...)
		}
		return at >= 0
	})

	return found, nil
}

func (r RoleRight) isSameRight(other RoleRight) bool {
	return r.Verb == other.Verb && r.Group == other.Group && r.Resource == other.Resource
}

func mergeUses(rights []RoleRight, command string, uses []usedRight) []RoleRight {
	for _, u := range uses {
		right := RoleRight{Verb: u.verb, Group: u.group, Resource: u.roleResource()}
		at := slices.IndexFunc(rights, right.isSameRight)
		if at < 0 {
			at = len(rights)
			rights = append(rights, right)
		}
		rights[at].Uses = append(rights[at].Uses, RightUse{command, u.why})
	}
	return rights
}
