#!/usr/bin/env bash
# Shows kdiag step by step on a sample application whose image has no shell.
# Needs a cluster in KUBECONFIG, kubectl in PATH, and bin/kubectl-kdiag.
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=kdiag-demo
export PATH=$PWD/bin:$PATH KDIAG_IMAGE=${KDIAG_TEST_IMAGE:?}

bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true)
explain() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
run() { printf '$ %s\n' "$*"; bash -c "$*" || code=$?; }

cleanup() { kill ${redir:-} ${sample:-} 2>/dev/null || true; kubectl delete namespace $namespace $namespace-baseline --wait=false >/dev/null 2>&1 || true; }
trap cleanup EXIT
kubectl delete namespace $namespace $namespace-baseline --ignore-not-found >/dev/null 2>&1

explain "The sample: a deployment whose image contains one program and nothing else."
kubectl create namespace $namespace >/dev/null
kubectl apply -n $namespace -f testdata/manifests/demo.yaml >/dev/null
kubectl rollout status -n $namespace deploy/web --timeout=60s >/dev/null
run "kubectl get pods -n $namespace"

explain "Does kdiag work here? The doctor checks without changing anything."
run "kubectl kdiag doctor -n $namespace deploy/web"

explain "kubectl exec does not help: the image has no shell."
run "kubectl exec -n $namespace deploy/web -- sh -c ls 2>&1 | tail -n 1"

explain "kdiag brings its own. Nothing is installed, and the pod does not restart."
run "kubectl kdiag shell -n $namespace deploy/web -- -c 'id; pwd; ls -l /'"

explain "You are inside: these are the application's files, environment, processes and sockets."
run "kubectl kdiag shell -n $namespace deploy/web -- -c 'cat hello.txt; echo SAMPLE=\$SAMPLE; ps -o pid,user,args; netstat -tln'"

explain "kdiag ps shows what runs and what listens at a glance."
run "kubectl kdiag ps -n $namespace deploy/web"

explain "With --as-target the shell has the application's user and rights. Call the application from inside:"
run "kubectl kdiag shell -n $namespace deploy/web --as-target -- -c 'id; wget -qO- http://127.0.0.1:8080/'"

explain "It works in scripts: stdout and stderr stay separate, and you get the command's exit code."
code=0
run "kubectl kdiag shell -n $namespace deploy/web -- -c 'echo out; echo err >&2; exit 7' 2>/dev/null"
printf '(exit code %s)\n' "$code"

explain "In a namespace that enforces Pod Security, kdiag uses the strongest profile that the cluster admits, and tells you which."
kubectl create namespace $namespace-baseline >/dev/null
run "kubectl label namespace $namespace-baseline pod-security.kubernetes.io/enforce=baseline"
kubectl apply -n $namespace-baseline -f testdata/manifests/demo.yaml >/dev/null
kubectl rollout status -n $namespace-baseline deploy/web --timeout=60s >/dev/null
run "kubectl kdiag shell -n $namespace-baseline deploy/web -- -c 'cat hello.txt'"

explain "Replace the program in the pod with yours: here the same sample, running on this machine on port 3000."
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
run "kubectl kdiag shell -n $namespace deploy/web -- -c 'wget -qO- http://127.0.0.1:8080/'"
explain "Press Ctrl-C, and new connections reach the application again."
# Bash lets background jobs of a script ignore SIGINT.
kill -TERM "$redir"
wait "$redir" || true
kill "$sample"
tail -n 2 bin/redir.log
run "kubectl kdiag shell -n $namespace deploy/web -- -c 'wget -qO- http://127.0.0.1:8080/'"

explain "Follow the log while a command runs, to the last line. You get the command's exit code."
run "kubectl kdiag logs -n $namespace deploy/web -- sh -c 'echo wget -qO- http://127.0.0.1:8080/ | kubectl kdiag shell -n $namespace deploy/web'"

explain "The pod never restarted. kdiag's containers exit on their own when nobody uses them."
run "kubectl get pods -n $namespace"

if [ -t 0 ] && [ -t 1 ]; then
	explain "Your turn: a shell in a container that has none. Type exit or press Ctrl-D to leave."
	run "kubectl kdiag shell -n $namespace deploy/web"
fi
explain "That was kdiag. The sample is deleted now. Run 'make cluster-down' to stop the cluster."
