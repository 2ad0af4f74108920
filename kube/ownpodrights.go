package kube

import "context"

// CopyCommand and NodeCommand name shells in pods that kdiag makes, for Roles.
const (
	CopyCommand = "shell-copy"
	NodeCommand = "shell-node"
)

// What both use a right for.
var (
	needRunShell  = commandRight{rightCreateExec, "run the shell"}
	needDeletePod = commandRight{rightDeletePods, "delete the pod when the shell ends"}
	needFollowPod = commandRight{rightWatchPods, "learn at once that the pod runs"}
)

// rightsOfCopies lists what "shell --copy" needs. No right to ephemeral containers is among it.
var rightsOfCopies = rightsEntry{
	command: CopyCommand, onlyNamed: true,
	required: []commandRight{needFindPod, {rightCreatePods, "make the copy"}, needRunShell},
	optional: []commandRight{
		needDeletePod, needFollowPod, needWebSocket, needWatchEvents, needNamePods,
		{accessRight{verb: "get", resource: "persistentvolumeclaims"}, "know which volumes two pods can share"},
	},
	wider: []commandRight{{needAskNode.accessRight, "know whether the node's runtime mounts images"}},
}

// rightsOfNodePods lists what "shell node/NAME" needs.
var rightsOfNodePods = rightsEntry{
	command: NodeCommand, onlyNamed: true,
	required: []commandRight{{rightGetPods, "learn that the pod runs"}, {rightCreatePods, "make a pod on the node"}, needRunShell},
	optional: []commandRight{needDeletePod, needFollowPod, needWebSocket, needWatchEvents},
	wider:    []commandRight{{needAskNode.accessRight, "check that the node exists and responds"}},
}

// ReviewCommand compares the rights that one command needs, for one pod or any, with those of the user.
func (c *Cluster) ReviewCommand(ctx context.Context, command, pod string) (RightsReview, error) {
	for _, entry := range rightsOf {
		if entry.command != command {
			continue
		}

		needed := entry.listNeeded(pod)
		may, err := c.reviewAllAccess(ctx, needed, pod)
		if err != nil {
			return RightsReview{}, err
		}

		review := RightsReview{Command: command, Needed: groupByResource(needed)}
		for _, right := range needed {
			if !may[right] {
				review.Lacking = append(review.Lacking, right.String())
			}
		}
		return review, nil
	}
	return RightsReview{}, nil
}
