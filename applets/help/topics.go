package help

import "kdiag/applets"

// Topics lists the pages that belong to no single command. A page whose name is a
// category of flags ends with a table of them.
func Topics() []applets.Topic {
	return []applets.Topic{
		{Name: "targets", Summary: "How to name a pod and a container", Text: targets},
		{Name: applets.ConnectionCategory, Summary: "How to choose the cluster and the user", Text: connection},
		{Name: "profiles", Summary: "What a shell may do, and how its profile is chosen", Text: profiles},
		{Name: "copy", Summary: "Shells in a copy of a pod, and on a node", Text: copies},
		{Name: "images", Summary: "The image that runs in pods", Text: images},
		{Name: "log-sources", Summary: "Which logs to follow, and how many at once", Text: logSources},
		{Name: "log-lines", Summary: "Which log lines to show, and how", Text: logLines},
		{Name: "exit-codes", Summary: "What the exit codes mean", Text: exitCodes},
		{Name: "environment", Summary: "Environment variables that kdiag reads", Text: environment},
		{Name: "shells", Summary: "How to turn on shell completion", Text: shells},
	}
}

const targets = `
A target is a pod, or an object that owns pods:

  web-6c45cb669c-4cg2l   a pod
  deploy/web             TYPE/NAME; the type is pod, deploy, sts, ds, rs, job, cj or svc
  -l app=web,tier!=db    a label selector, instead of a name

Pods of any other type, such as a Rollout or a ReplicationController, are selected by label. An
object has the pods that it owns, not those of others with the same labels. If several pods match,
kdiag prefers a ready pod, then a running one, then the newest; one that is terminating comes last.
-c selects the container, which may be an init container, a sidecar or an ephemeral container.
The default is the one that the annotation kubectl.kubernetes.io/default-container names, else the
first.

Flags may stand anywhere on the command line, as in kubectl. Everything after -- is passed to the
shell or the command.
`

const connection = `
kdiag uses the same cluster as kubectl. It reads --kubeconfig, else the files in KUBECONFIG, else
~/.kube/config, and takes --context, else the current context. Credential plugins and proxies work
as in kubectl. The namespace is -n, else the context's, else "default".
`

const profiles = `
A shell asks for no more privileges than it needs. --profile=auto tries these in order, and a note
tells you if the first one was refused:

  chroot       chroot into any target; needs SYS_PTRACE and Pod Security level privileged
  baseline     chroot with the runtime's default capabilities; level baseline
  restricted   look only: the target's files are in /proc/PID/root; level restricted

This one is used only if you ask for it:

  setns        join the target's namespaces; needs SYS_ADMIN, SYS_PTRACE and level privileged.
               While its container runs, anyone who may exec in the pod can become root on
               the node.

The shell runs as root, except with restricted. --as-target uses the application's uid instead.
Containers with chroot or setns exit one minute after their last session, others after ten
(--idle-timeout).
`

const copies = `
A container that crashes cannot be entered. --copy makes a pod with the same image, environment,
volumes and user, in which the container waits; its own command is in $KDIAG_COMMAND:

  kubectl kdiag shell --copy web-0
  web-0:/$ eval "$KDIAG_COMMAND"      # run it by hand

The copy has no labels, probes or owner, so no Service or controller sees it. kdiag says what it is
going to make, and deletes it when the shell ends; after --deadline it ends in any case. The rights
"create pods" and "create pods/exec" are enough: there is no ephemeral container.

'kubectl kdiag shell node/NAME' makes a privileged pod, whose shell is root on the node.
`

const images = `
kdiag itself runs in pods, from an image with that one file. The image is --image, else
KDIAG_IMAGE, else the one that this binary was built for, which 'kdiag version' prints.

  kdiag image push registry.example/kdiag:v1    to a registry that the nodes can reach
  kdiag image save kdiag.tar                    to a file, for docker load or ctr images import

A node that has the image doesn't pull it again, unless you set --image-pull-policy=Always.
`

const logSources = `
Select pods by POD, TYPE/NAME or -l selector, or all pods in the namespace by -a. Append :CONTAINER
to select a container. The default is the one that the annotation
kubectl.kubernetes.io/default-container names, else all containers of the pod. Pods that start
later and containers that restart are followed too.
`

const logLines = `
--include and --exclude choose which lines to show, but --fail-on and --until check all of them.
Lines are shown whole, up to 1 MiB. Each pod has its own colour, the same in every run; NO_COLOR and
--color=never turn colours off.
`

const exitCodes = `
  0      success
  1      kdiag failed; one line on stderr says why, and hints say what to do next
  2      invalid command line
  3      logs: a line matched --fail-on
  127    unknown command
  130    interrupted by Ctrl-C; for other signals, 128 plus the signal's number

If kdiag runs a command for you, in a pod or on your machine, it exits with that command's code.
`

const environment = `
  KUBECONFIG        kubeconfig files, as for kubectl
  KDIAG_IMAGE       image to run in pods, unless --image is set
  NO_COLOR          turns colours off if it is set
  HTTPS_PROXY, NO_PROXY
                    proxy for the API server
  XDG_CONFIG_HOME   directory with your key (kdiag/key.pem) and the list of your containers
                    (kdiag/pods), so that kdiag can find them again; default ~/.config, or your
                    system's equivalent
`

const shells = `
For the command kdiag, run the line for your shell, or add it to the shell's start-up file:

  source <(kdiag completion bash)
  source <(kdiag completion zsh)
  kdiag completion fish | source
  kdiag completion powershell | Out-String | Invoke-Expression

For "kubectl kdiag", kubectl's own completion calls a program with the name below. Link it to kdiag
in the same directory of your PATH:

  ln -s kubectl-kdiag kubectl_complete-kdiag
`
