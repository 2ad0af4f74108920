package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tab is a line, and what it is once the Tab key was pressed: whole, with the
// blank that ends a word, or without it where the word goes on.
type tab struct{ typed, becomes string }

// tabs are what completion is there for, NS being the namespace. Each line has
// one way on.
var tabs = []tab{
	{"kdiag vers", "kdiag version "},
	{"kdiag shell --prof", "kdiag shell --profile "},
	{"kdiag redir --netfilter=ip", "kdiag redir --netfilter=iptables "},
	{"kdiag redir x -o js", "kdiag redir x -o json "},
	{"kdiag image sa", "kdiag image save "},
	{"kdiag shell -n NS shop", "kdiag shell -n NS SHOP "},
	{"kdiag -n NS shell bat", "kdiag -n NS shell batch-"},
	{"kdiag shell -n NS dep", "kdiag shell -n NS deploy/"},
	{"kdiag shell -n NS deploy/", "kdiag shell -n NS deploy/shop "},
	{"kdiag shell -n NS deployment.apps/sh", "kdiag shell -n NS deployment.apps/shop "},
	{"kdiag shell deploy/shop -n NS -c we", "kdiag shell deploy/shop -n NS -c web "},
	{"kdiag shell -n NS deploy/shop --container=mig", "kdiag shell -n NS deploy/shop --container=migrate "},
	{"kdiag shell -n NS -l tier=front -c p", "kdiag shell -n NS -l tier=front -c proxy "},
	{"kdiag shell -n NS -l ap", "kdiag shell -n NS -l app="},
	{"kdiag shell -n NS -l app=shop,tier=fr", "kdiag shell -n NS -l app=shop,tier=front "},
	{"kdiag shell -n NS --selector=tier=b", "kdiag shell -n NS --selector=tier=back "},
	{"kdiag redir -n NS deploy/shop 80", "kdiag redir -n NS deploy/shop 8080 "},
	{"kdiag redir -n NS deploy/shop 8080 9", "kdiag redir -n NS deploy/shop 8080 9090 "},
	{"kdiag redir -n NS -l app=shop 80", "kdiag redir -n NS -l app=shop 8080 "},
	{"kdiag shell --namespace PART", "kdiag shell --namespace NS "},
	{"kdiag shell --context adm", "kdiag shell --context admin@west "},
	{"kdiag shell --context=arn:aws:eks:1", "kdiag shell --context=arn:aws:eks:1:cluster/blue "},
	{"kdiag shell --context arn:aws:eks:2", "kdiag shell --context arn:aws:eks:2:cluster/red "},
	{"kdiag shell --context odd", `kdiag shell --context odd\ \$\(touch\ it\) `},
	{"kdiag --kubeconfig FILE", "kdiag --kubeconfig FILE-more "},
	{"kdiag help exit", "kdiag help exit-codes "},
	// Nothing may be there, and nothing is offered in its place: no file.
	{"kdiag shell shop -n NS /et", "kdiag shell shop -n NS /et"},
	{"kdiag shell --token /et", "kdiag shell --token /et"},
}

// withContexts is a kubeconfig beside the cluster's own, with names as clouds
// give them. The cluster's context stays the current one.
const withContexts = `
apiVersion: v1
kind: Config
contexts:
- {name: admin@west, context: {cluster: c, user: u}}
- {name: "arn:aws:eks:1:cluster/blue", context: {cluster: c, user: u}}
- {name: "arn:aws:eks:2:cluster/red", context: {cluster: c, user: u}}
- {name: "odd $(touch it)", context: {cluster: c, user: u}}
clusters:
- {name: c, cluster: {server: "https://127.0.0.1:1"}}
users:
- {name: u, user: {token: secret}}
`

// completing is a namespace, the pod of the deployment in it, and a directory
// with what a user's home has.
type completing struct{ namespace, shop, dir string }

func newCompleting(t *testing.T) completing {
	t.Helper()
	c := completing{namespace: newNamespace(t), dir: t.TempDir()}
	apply(t, c.namespace, manifest(t, "completion.yaml"))
	eventually(t, "the pod of the deployment", func() bool {
		c.shop = kubectl(t, "get", "pods", "-n", c.namespace, "-l", "app=shop", "-o", "jsonpath={.items[*].metadata.name}")
		return c.shop != ""
	})
	c.write(t, "contexts", withContexts)
	c.write(t, "file-more", "")
	return c
}

func (c completing) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c completing) env() []string {
	return []string{
		"PATH=" + filepath.Join(shared.root, "bin") + ":" + os.Getenv("PATH"),
		"KUBECONFIG=" + shared.kubeconfig + ":" + filepath.Join(c.dir, "contexts"),
		"HOME=" + c.dir, "ZDOTDIR=" + c.dir, "XDG_CONFIG_HOME=" + c.dir, "XDG_DATA_HOME=" + filepath.Join(c.dir, ".local/share"),
	}
}

// named puts the names of this run into a line.
func (c completing) named(line string) string {
	// The last digits of the random name tell it from others.
	part := c.namespace[:len(c.namespace)-1]
	return strings.NewReplacer("NS", c.namespace, "SHOP", c.shop, "PART", part, "FILE", filepath.Join(c.dir, "file")).Replace(line)
}

// startShell starts one of the shells with completion switched on as the
// README says.
func (c completing) startShell(t *testing.T, name string) *terminal {
	t.Helper()
	switch name {
	case "bash":
		rc := c.write(t, "rc", "PS1='laptop$ '\nsource <(kdiag completion bash)\n")
		return startTerminal(t, c.env(), "bash", "--noprofile", "--rcfile", rc, "-i")
	case "zsh":
		c.write(t, ".zshrc", "PS1='laptop$ '\nsetopt interactivecomments\nautoload -U compinit\ncompinit -u\nsource <(kdiag completion zsh)\n")
		return startTerminal(t, c.env(), "zsh", "-d", "-i")
	case "fish":
		// Where this is not there, fish makes completions of all man pages, in the
		// background and beyond its own end (fish, __fish_config_interactive).
		if err := os.MkdirAll(filepath.Join(c.dir, ".local/share/fish/generated_completions"), 0o700); err != nil {
			t.Fatal(err)
		}
		return startTerminal(t, c.env(), "fish", "-i", "-C",
			"function fish_prompt; printf 'laptop$ '; end; set fish_greeting; set -g fish_autosuggestion_enabled 0; kdiag completion fish | source")
	case "kubectl in bash":
		rc := c.write(t, "rc", "PS1='laptop$ '\nsource /usr/share/bash-completion/bash_completion\nsource <(kubectl completion bash)\n")
		return startTerminal(t, c.env(), "bash", "--noprofile", "--rcfile", rc, "-i")
	case "kubectl in zsh":
		c.write(t, ".zshrc", "PS1='laptop$ '\nautoload -U compinit\ncompinit -u\nsource <(kubectl completion zsh)\n")
		return startTerminal(t, c.env(), "zsh", "-d", "-i")
	}

	t.Fatalf("no shell %q", name)
	return nil
}

// complete types a line and the Tab key, and waits for what it is to become.
// The mark after it shows a blank.
func (x *terminal) complete(line, want string) {
	x.t.Helper()
	x.offer(line, "Tab")
	x.tmux("send-keys", "-l", "#")
	x.await("laptop$ " + want + "#")
}

// offer types a line on an empty screen, and presses keys.
func (x *terminal) offer(line string, keys ...string) {
	x.t.Helper()
	x.keys("C-u", "C-l")
	x.awaitPrompt()
	x.tmux("send-keys", "-l", line)
	x.keys(keys...)
}

// TestCompletion presses Tab in real shells.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			c := newCompleting(t)
			x := c.startShell(t, shell)
			for _, tab := range tabs {
				t.Run(tab.typed, func(t *testing.T) {
					y := *x
					y.t = t
					y.complete(c.named(tab.typed), c.named(tab.becomes))
				})
			}

			// All there is, with what it is.
			x.offer("kdiag ", "Tab", "Tab")
			x.await("Get a shell in any container")
			t.Logf("screen:\n%s", x.screen())
			x.offer("kdiag shell -n "+c.namespace+" ", "Tab", "Tab")
			x.await("batch-2")
			x.await("deploy/")
			t.Logf("screen:\n%s", x.screen())
			x.offer("kdiag shell -n "+c.namespace+" deploy/shop -c ", "Tab", "Tab")
			x.await("init, localhost/kdiag-sample")
		})
	}
}

// TestCompletionWithoutRights is silent about what a user may not see.
func TestCompletionWithoutRights(t *testing.T) {
	c := newCompleting(t)
	for _, line := range [][]string{
		{"shell", "--as=nobody", "-n", c.namespace, "batch"},
		{"shell", "--as=nobody", "-n", ""},
		{"shell", "--as=nobody", "-n", c.namespace, "deploy/shop", "-c", ""},
		{"redir", "--as=nobody", "-n", c.namespace, "deploy/shop", ""},
	} {
		got := kdiag(t, append([]string{"__complete"}, line...)...)
		if got.code != 0 || got.stderr != "" || got.stdout != ":4\n" {
			t.Errorf("__complete %q: %s, want nothing", line, got)
		}
	}
}

// TestCompletionThroughKubectl presses Tab in kubectl's own completion, which
// asks kubectl_complete-kdiag.
func TestCompletionThroughKubectl(t *testing.T) {
	for _, shell := range []string{"kubectl in bash", "kubectl in zsh"} {
		t.Run(shell, func(t *testing.T) {
			c := newCompleting(t)
			x := c.startShell(t, shell)
			for _, tab := range []tab{
				{"kubectl kdiag vers", "kubectl kdiag version "},
				{"kubectl kdiag shell --prof", "kubectl kdiag shell --profile "},
				{"kubectl kdiag shell --profile=ch", "kubectl kdiag shell --profile=chroot "},
				{"kubectl kdiag shell -n NS shop", "kubectl kdiag shell -n NS SHOP "},
				{"kubectl kdiag shell -n NS dep", "kubectl kdiag shell -n NS deploy/"},
				{"kubectl kdiag shell -n NS deploy/", "kubectl kdiag shell -n NS deploy/shop "},
				{"kubectl kdiag shell deploy/shop -n NS -c mig", "kubectl kdiag shell deploy/shop -n NS -c migrate "},
				{"kubectl kdiag shell -n NS -l tier=fr", "kubectl kdiag shell -n NS -l tier=front "},
				{"kubectl kdiag shell --context arn:aws:eks:2", "kubectl kdiag shell --context arn:aws:eks:2:cluster/red "},
				{"kubectl kdiag redir -n NS deploy/shop 80", "kubectl kdiag redir -n NS deploy/shop 8080 "},
			} {
				t.Run(tab.typed, func(t *testing.T) {
					y := *x
					y.t = t
					y.complete(c.named(tab.typed), c.named(tab.becomes))
				})
			}

			x.offer("kubectl kdiag shell -n "+c.namespace+" ", "Tab", "Tab")
			x.await("batch-2")
			t.Logf("screen:\n%s", x.screen())
		})
	}
}
