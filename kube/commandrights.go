package kube

import (
	"fmt"
	"slices"
)

// commandRight says what a command uses a right for, in words for a comment in a Role.
type commandRight struct {
	accessRight
	purpose string
}

// rightsEntry lists the rights that one of kdiag's commands uses in the namespace of its
// target.
type rightsEntry struct {
	command string
	// required lists the rights without which it does not work on a pod that it is given
	// by name.
	required []commandRight
	// following lists what it needs as well to follow pods that it is not given by name.
	following []commandRight
	// optional lists the rights with which it works better.
	optional []commandRight
	// wider lists rights that only a ClusterRole can give.
	wider []commandRight
	// reviewed says that doctor checks them.
	reviewed bool
	// onlyNamed says that a Role has them only if the command is named.
	onlyNamed bool
}

// What several commands do with a right.
var (
	needFindPod      = commandRight{rightGetPods, "find a pod by its name"}
	needAwaitStart   = commandRight{rightWatchPods, "learn at once that kdiag's container runs"}
	needAddContainer = commandRight{rightPatchEphemeral, "add kdiag's container to the pod"}
	needWebSocket    = commandRight{rightGetExec, "run it over a WebSocket, one round trip faster than SPDY"}
	needListEvents   = commandRight{accessRight{verb: "list", resource: "events"}, "start watching events from now on"}
	needWatchEvents  = commandRight{accessRight{verb: "watch", resource: "events"}, "report at once what the kubelet does and why it fails"}
	needNamePods     = commandRight{rightListPods, "list the namespace's pods when the named one is not found"}
	needReadClass    = commandRight{rightGetRuntimeClass, "tell sandboxes by their handlers, not only by their names"}
	needReadMemory   = commandRight{accessRight{verb: "get", group: "metrics.k8s.io", resource: "pods"}, "read what a pod with little memory uses of it"}
	needLastWords    = commandRight{rightGetLog, "show the last words of a container that does not run"}
	needAskNode      = commandRight{accessRight{verb: "get", resource: "nodes"}, "report that the pod's node does not respond"}
)

// rightsOf lists what each command needs. A test on a cluster proves it sufficient and
// minimal, verb by verb.
var rightsOf = []rightsEntry{
	{
		command: "shell", reviewed: true,
		required: []commandRight{needFindPod, needAddContainer, {rightCreateExec, "run the shell"}},
		optional: []commandRight{needAwaitStart, needWebSocket, needListEvents, needWatchEvents, needNamePods, needLastWords, needReadMemory},
		wider:    []commandRight{needAskNode},
	},
	{
		command: "redir", reviewed: true,
		required: []commandRight{needFindPod, needAddContainer,
			{rightGetLog, "read which port the manager listens on"}, {rightCreateForward, "connect to the manager"}},
		following: []commandRight{{rightWatchPods, "follow rollouts and replicas"}},
		optional: []commandRight{
			needAwaitStart, {rightWatchPods, "learn at once why a pod is gone"},
			{rightGetForward, "connect over a WebSocket, one round trip faster than SPDY"},
			needListEvents, needWatchEvents, needNamePods, {rightCreateExec, "find the ports of one container, with -c"},
			{rightGetExec, "find them over a WebSocket, one round trip faster than SPDY"},
			{rightGetServices, "take the addresses of a service, with --outgoing"},
			{rightListSlices, "take the addresses of its endpoints, with --outgoing"},
			needReadMemory,
		},
		wider: []commandRight{{needAskNode.accessRight, "know the node's addresses, and report that it does not respond"}, needReadClass},
	},
	{
		command:  "ps",
		required: []commandRight{needFindPod, needAddContainer, {rightCreateExec, "read the container's processes and sockets"}},
		optional: []commandRight{
			needAwaitStart, needWebSocket, needListEvents, needWatchEvents,
			{rightListPods, "show which pods connections lead to, with --sockets"},
			{accessRight{verb: "list", resource: "services"}, "show which services connections lead to, with --sockets"},
			needLastWords, needReadMemory,
		},
		wider: []commandRight{
			needAskNode,
			{rightListPods, "show pods of other namespaces, with --sockets"},
			{accessRight{verb: "list", resource: "services"}, "show services of other namespaces, with --sockets"},
		},
	},
	{
		command:  "env",
		required: []commandRight{needFindPod, needAddContainer, {rightCreateExec, "read the environment of the container's process"}},
		optional: []commandRight{needAwaitStart, needWebSocket, needListEvents, needWatchEvents, needNamePods, needLastWords, needReadMemory},
		wider:    []commandRight{needAskNode},
	},
	{
		command:  "capture",
		required: []commandRight{needFindPod, needAddContainer, {rightCreateExec, "capture packets"}},
		optional: []commandRight{
			needAwaitStart, needWebSocket, needListEvents, needWatchEvents,
			{rightListPods, "name the pods that packets come from; capture from every pod, with --all"},
			{accessRight{verb: "list", resource: "services"}, "name the Services that packets go to"},
			{rightWatchPods, "follow the pods as they come and go, with --all"},
			{rightGetLog, "read which ports managers listen on, to leave out their connections"},
			needReadMemory,
		},
		wider: []commandRight{
			needAskNode,
			{rightListPods, "name pods of other namespaces"},
			{accessRight{verb: "list", resource: "services"}, "name Services of other namespaces"},
		},
	},
	{
		command:  "cp",
		required: []commandRight{needFindPod, needAddContainer, {rightCreateExec, "copy files to and from the container"}},
		optional: []commandRight{needAwaitStart, needWebSocket, needListEvents, needWatchEvents, needNamePods, needLastWords, needReadMemory},
		wider:    []commandRight{needAskNode},
	},
	{
		command: "logs", reviewed: true,
		required: []commandRight{
			needFindPod, {rightGetLog, "read their logs"},
		},
		following: []commandRight{{rightWatchPods, "follow pods as they start, restart and end"}},
		optional: []commandRight{
			{rightListPods, "find pods by label, or all of them"}, {rightWatchPods, "learn at once that pods start, restart and end"},
		},
	},
	{
		command:  "manage",
		required: []commandRight{needFindPod, needAddContainer},
		optional: []commandRight{needAwaitStart, needListEvents, needWatchEvents, needNamePods, needLastWords, needReadMemory},
		wider:    []commandRight{needAskNode},
	},
	{
		command: "doctor",
		required: []commandRight{
			needFindPod, {rightPatchEphemeral, "check by dry run what would be admitted"}, {rightCreateForward, "check how streams reach the pod"},
		},
		optional: []commandRight{
			{rightGetForward, "check whether a WebSocket works"},
			{rightCreateExec, "check whether an exec gets through"},
			{rightGetLog, "read what your manager in the pod found in the node's kernel"},
			{accessRight{verb: "get", resource: "namespaces"}, "read the namespace's Pod Security level when no target is named"},
			needNamePods,
		},
		wider: []commandRight{{accessRight{verb: "get", resource: "nodes"}, "check the node's kernel and images"}, needReadClass},
	},
	rightsOfCopies, rightsOfNodePods,
}

// DefaultRoleCommands lists the commands that a Role is for if none is named.
func DefaultRoleCommands() []string {
	return slices.DeleteFunc(RoleCommands(), func(name string) bool {
		return slices.ContainsFunc(rightsOf, func(r rightsEntry) bool { return r.command == name && r.onlyNamed })
	})
}

// RoleCommands lists the commands that a Role can be made for.
func RoleCommands() []string {
	names := make([]string, len(rightsOf))
	for i, rights := range rightsOf {
		names[i] = rights.command
	}
	return names
}

// AnyPods stands for targets that are given by label selector, in RoleRightsFor.
const AnyPods = "selector"

// rightsToFind returns the rights that it takes to find targets of a kind: one of
// TargetTypes, or AnyPods.
func rightsToFind(kind string) ([]commandRight, error) {
	if kind == AnyPods {
		return []commandRight{{rightListPods, "find pods by a label selector"}}, nil
	}

	resource, ok := ParseResource(kind)
	if !ok {
		return nil, fmt.Errorf("unknown type %q", kind)
	}
	if resource == "pods" {
		return nil, nil // every command can get pods by name
	}

	group := ""
	switch resource {
	case "jobs", "cronjobs":
		group = "batch"
	case "deployments", "statefulsets", "daemonsets", "replicasets":
		group = "apps"
	}

	return []commandRight{
		{rightListPods, "find the pods of " + resource},
		{accessRight{verb: "get", group: group, resource: resource}, "read which pods belong to a target"},
	}, nil
}

// rightsToTellOwn returns the rights with which a target's pods are told from others' by what owns
// them, where otherwise names tell.
func rightsToTellOwn(kind string) []commandRight {
	resource, _ := ParseResource(kind)
	owner := ownerKinds[resource]
	if owner.between == "" {
		return nil
	}
	return []commandRight{{accessRight{verb: "list", group: owner.group, resource: owner.betweenIn}, "tell pods of " + resource + " from others with the same labels"}}
}

// RoleRight says what a right, in RBAC's terms, is used for.
type RoleRight struct {
	Verb, Group string
	// Resource includes the subresource: "pods/exec".
	Resource string
	Uses     []RightUse
}

// RightUse says what one command uses a right for.
type RightUse struct {
	Command, Why string
}

// RoleRights lists what several commands need, each right once.
type RoleRights struct {
	// Required and Optional have no right in common.
	Required, Optional []RoleRight
	// Wider lists optional rights that only a ClusterRole can give.
	Wider []RoleRight
}

// RoleRightsFor returns the rights that some commands need for targets that are given as
// pods' names or by one of the kinds.
func RoleRightsFor(commands, kinds []string) (RoleRights, error) {
	var found RoleRights
	var byKind, optional []commandRight
	for _, kind := range kinds {
		uses, err := rightsToFind(kind)
		if err != nil {
			return RoleRights{}, err
		}
		byKind = append(byKind, uses...)
		optional = append(optional, rightsToTellOwn(kind)...)
	}

	for _, command := range commands {
		at := slices.IndexFunc(rightsOf, func(r rightsEntry) bool { return r.command == command })
		if at < 0 {
			return RoleRights{}, fmt.Errorf("no command %q needs rights", command)
		}
		rights := rightsOf[at]
		needed := slices.Concat(rights.required, byKind)
		if len(byKind) > 0 {
			needed = append(needed, rights.following...)
		}
		found.Required = mergeUses(found.Required, command, needed)
		found.Optional = mergeUses(found.Optional, command, slices.Concat(rights.optional, optional))
		found.Wider = mergeUses(found.Wider, command, rights.wider)
	}

	// A right that one command requires is not optional for another.
	found.Optional = slices.DeleteFunc(found.Optional, func(r RoleRight) bool {
		at := slices.IndexFunc(found.Required, r.isSameRight)
		if at >= 0 {
			found.Required[at].Uses = append(found.Required[at].Uses, r.Uses...)
		}
		return at >= 0
	})

	return found, nil
}

// isSameRight compares two rights, whatever they are used for.
func (r RoleRight) isSameRight(other RoleRight) bool {
	return r.Verb == other.Verb && r.Group == other.Group && r.Resource == other.Resource
}

// mergeUses adds what a command uses rights for to a list that has each right once.
func mergeUses(rights []RoleRight, command string, uses []commandRight) []RoleRight {
	for _, u := range uses {
		right := RoleRight{Verb: u.verb, Group: u.group, Resource: u.roleResource()}
		at := slices.IndexFunc(rights, right.isSameRight)
		if at < 0 {
			at = len(rights)
			rights = append(rights, right)
		}
		rights[at].Uses = append(rights[at].Uses, RightUse{command, u.purpose})
	}
	return rights
}
