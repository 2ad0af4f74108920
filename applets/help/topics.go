package help

import "kdiag/applets"

// Topics are the pages that belong to no one command. One that has the name
// of a category of flags is followed by them.
func Topics() []applets.Topic {
	return []applets.Topic{
		{Name: "targets", Summary: "How a pod and a container are named", Text: targets},
		{Name: applets.ConnectionCategory, Summary: "How the cluster is reached, and the flags for it", Text: connection},
		{Name: "profiles", Summary: "What a shell may do, and which profile is taken", Text: profiles},
		{Name: "images", Summary: "The image that runs in pods", Text: images},
		{Name: "log-sources", Summary: "Which logs are followed, and how many at once", Text: logSources},
		{Name: "log-lines", Summary: "Which lines are shown, and how", Text: logLines},
		{Name: "exit-codes", Summary: "What the exit code says", Text: exitCodes},
		{Name: "environment", Summary: "The variables that kdiag reads", Text: environment},
		{Name: "shells", Summary: "How completion is switched on", Text: shells},
	}
}

const targets = `
A target is a pod, or something that owns pods:

  web-6c45cb669c-4cg2l   a pod
  deploy/web             of a type: pod, deploy, sts, ds, rs, job, svc
  -l app=web,tier!=db    a label selector, in place of a name

Of several pods a ready one comes before a running one, and then the newest; one that is being
deleted is never taken. -c names the container, an init container or a sidecar too. Without it:
the one that kubectl.kubernetes.io/default-container names, else the first.

Flags stand anywhere on the line, as kubectl's do; what is for the command in the pod, or for the
shell, stands after --.
`

const connection = `
The cluster is the one that kubectl would take: --kubeconfig, else the files in KUBECONFIG, else
~/.kube/config, and there the current context, or --context. Credential plugins and proxies work
as with kubectl. Without -n the namespace is the context's, else "default".
`

const profiles = `
A shell asks the cluster for no more than it needs. --profile=auto tries these in turn, and says
so when the first was refused:

  chroot       chroot into any target: SYS_PTRACE; Pod Security level privileged
  baseline     chroot with what a runtime grants by default; baseline
  restricted   look-only: beside the target, its files under /proc/PID/root; restricted

Only when asked for by name:

  setns        in the target's namespaces: SYS_ADMIN and SYS_PTRACE; privileged. Anyone who may
               exec in the pod is as good as root on the node while the container is there.

The shell is root except in restricted; --as-target takes the application's own uid. Containers
with chroot or setns end a minute after the last session, others after ten (--idle-timeout).
`

const images = `
What runs in pods is kdiag itself, in an image with that one file. Which image: --image, else
KDIAG_IMAGE, else the one that this binary was built for (kdiag version names it).

  kdiag image push registry.example/kdiag:v1    to a registry that the nodes can reach
  kdiag image save kdiag.tar                    to a file, for docker load or ctr images import

A node that has the image does not pull it again unless --image-pull-policy=Always says so.
`

const logSources = `
logs takes POD, TYPE/NAME, -l selector, each with :CONTAINER where one is meant, or -a for all pods.
Without a container: the one that kubectl.kubernetes.io/default-container names, else all of
the pod's.
Pods that come later and containers that start again are followed, too.
`

const logLines = `
A line is matched and shown whole. --include and --exclude say which; --fail-on and --until look at
all of them. A pod keeps its colour from run to run; NO_COLOR and --color=never show none.
`

const exitCodes = `
  0      done
  1      kdiag failed; what and why is one line on stderr, what to do next is a hint
  2      wrong usage
  3      logs: a line matched --fail-on
  127    there is no such command
  130    ended by Ctrl-C; in general 128 and the signal's number

A command that kdiag runs, in a pod or here, passes its own exit code on.
`

const environment = `
  KUBECONFIG        kubeconfig files, as kubectl has it
  KDIAG_IMAGE       the image that runs in pods, where --image names none
  NO_COLOR          if it is set, no colours
  HTTPS_PROXY, NO_PROXY
                    how the API server is reached
  XDG_CONFIG_HOME   where your key (kdiag/key.pem) and the record of your containers (kdiag/pods)
                    are kept, by which they are found again; else ~/.config, or what the system
                    has for it
`

const shells = `
For kdiag under its own name, once in each shell, or in the shell's start-up file:

  source <(kdiag completion bash)
  source <(kdiag completion zsh)
  kdiag completion fish | source
  kdiag completion powershell | Out-String | Invoke-Expression

For "kubectl kdiag", kubectl's own completion asks a program by a name of its own; it is the
same binary:

  ln -s kubectl-kdiag kubectl_complete-kdiag    in the same directory of your PATH
`
