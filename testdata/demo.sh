#!/usr/bin/env bash
# The demo: what kdiag does to a sample that ships no shell, told step by step.
# Wants a cluster in KUBECONFIG, kubectl in PATH and bin/kubectl-kdiag built.
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=kdiag-demo
export PATH=$PWD/bin:$PATH KDIAG_IMAGE=${KDIAG_TEST_IMAGE:?}

bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true)
tell() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
show() { printf '$ %s\n' "$*"; bash -c "$*" || code=$?; }

cleanup() { kill ${redir:-} ${sample:-} 2>/dev/null || true; kubectl delete namespace $namespace $namespace-baseline --wait=false >/dev/null 2>&1 || true; }
trap cleanup EXIT
kubectl delete namespace $namespace $namespace-baseline --ignore-not-found >/dev/null 2>&1

tell "A sample: a deployment whose image holds one program and nothing else."
kubectl create namespace $namespace >/dev/null
kubectl apply -n $namespace -f testdata/manifests/demo.yaml >/dev/null
kubectl rollout status -n $namespace deploy/web --timeout=60s >/dev/null
show "kubectl get pods -n $namespace"

tell "Would kdiag work here? It asks, and changes nothing."
show "kubectl kdiag doctor -n $namespace deploy/web"

tell "kubectl exec is of no use: there is no shell in it."
show "kubectl exec -n $namespace deploy/web -- sh -c ls 2>&1 | tail -n 1"

tell "kdiag brings one along. Nothing was installed; the pod is not restarted."
show "kubectl kdiag shell -n $namespace deploy/web -- -c 'id; pwd; ls -l /'"

tell "It is inside: the application's files, environment, processes and sockets."
show "kubectl kdiag shell -n $namespace deploy/web -- -c 'cat hello.txt; echo SAMPLE=\$SAMPLE; ps -o pid,user,args; netstat -tln'"

tell "Or at a glance: what runs, and what listens."
show "kubectl kdiag ps -n $namespace deploy/web"

tell "Talk to the application from within, as it sees itself."
show "kubectl kdiag shell -n $namespace deploy/web --as-target -- -c 'id; wget -qO- http://127.0.0.1:8080/'"

tell "Scripts can rely on it: stdout and stderr stay apart, the exit code is the command's."
code=0
show "kubectl kdiag shell -n $namespace deploy/web -- -c 'echo out; echo err >&2; exit 7' 2>/dev/null"
printf '(exit code %s)\n' "$code"

tell "In a namespace that enforces Pod Security, kdiag takes the best the cluster admits, and says so."
kubectl create namespace $namespace-baseline >/dev/null
show "kubectl label namespace $namespace-baseline pod-security.kubernetes.io/enforce=baseline"
kubectl apply -n $namespace-baseline -f testdata/manifests/demo.yaml >/dev/null
kubectl rollout status -n $namespace-baseline deploy/web --timeout=60s >/dev/null
show "kubectl kdiag shell -n $namespace-baseline deploy/web -- -c 'cat hello.txt'"

tell "Your program in place of the one in the pod: here the same sample, started on this machine at port 3000."
go build -o bin/sample ./testdata/sample
bin/sample 127.0.0.1:3000 >/dev/null &
sample=$!
bin/kubectl-kdiag redir -n $namespace deploy/web 8080:3000 >bin/redir.log 2>&1 &
redir=$!
printf '$ kubectl kdiag redir -n %s deploy/web 8080:3000 &\n' "$namespace"
for _ in $(seq 300); do
	grep -q → bin/redir.log && break
	kill -0 "$redir" 2>/dev/null || break
	sleep 0.1
done
cat bin/redir.log
show "kubectl kdiag shell -n $namespace deploy/web -- -c 'wget -qO- http://127.0.0.1:8080/'"
tell "Ctrl-C, and new connections reach the application again."
kill -INT "$redir"
wait "$redir" || true
kill "$sample"
tail -n 2 bin/redir.log
show "kubectl kdiag shell -n $namespace deploy/web -- -c 'wget -qO- http://127.0.0.1:8080/'"

tell "Its log while a command runs, from now on and to the last line; the exit code is the command's."
show "kubectl kdiag logs -n $namespace deploy/web -- sh -c 'echo wget -qO- http://127.0.0.1:8080/ | kubectl kdiag shell -n $namespace deploy/web'"

tell "And the pod? It never restarted; kdiag's containers end by themselves when no shell is left."
show "kubectl get pods -n $namespace"

if [ -t 0 ] && [ -t 1 ]; then
	tell "Now you: a shell in a container that has none. Leave it with exit or Ctrl-D."
	show "kubectl kdiag shell -n $namespace deploy/web"
fi
tell "That was kdiag. The sample goes now; make cluster-down stops the cluster."
