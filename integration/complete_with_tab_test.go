package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// completion describes what the Tab key makes of a line. A blank at the end shows
// that the word is whole.
type completion struct{ typed, becomes string }

// completions lists lines with only one way on. NS and SHOP stand for the namespace
// and the pod, PART for the beginning of the namespace, FILE for a file's name.
var completions = []completion{
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
	{"kdiag redir -n NS svc/shop 80", "kdiag redir -n NS svc/shop 80 "},
	{"kdiag redir -n NS -l app=shop 80", "kdiag redir -n NS -l app=shop 8080 "},
	{"kdiag shell --namespace PART", "kdiag shell --namespace NS "},
	{"kdiag shell --context adm", "kdiag shell --context admin@west "},
	{"kdiag shell --context=arn:aws:eks:1", "kdiag shell --context=arn:aws:eks:1:cluster/blue "},
	{"kdiag shell --context arn:aws:eks:2", "kdiag shell --context arn:aws:eks:2:cluster/red "},
	{"kdiag shell --context odd", `kdiag shell --context odd\ \$\(touch\ it\) `},
	{"kdiag --kubeconfig FILE", "kdiag --kubeconfig FILE-more "},
	{"kdiag help exit", "kdiag help exit-codes "},
	// Where nothing can follow, no file is offered in its place.
	{"kdiag shell shop -n NS /et", "kdiag shell shop -n NS /et"},
	{"kdiag shell --token /et", "kdiag shell --token /et"},
}

// extraContexts adds a kubeconfig to the cluster's own, with names as clouds give
// them. The cluster's context stays the current one.
const extraContexts = `
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

// completionHome carries a namespace, the name of the pod of the deployment in it,
// and the path of a home directory.
type completionHome struct{ namespace, shop, dir string }

// createCompletionHome creates a namespace with what can be completed, and a home
// directory.
func createCompletionHome(t *testing.T) completionHome {
	t.Helper()
	c := completionHome{namespace: kit.CreateNamespace(t), dir: t.TempDir()}
	kit.ApplyManifest(t, c.namespace, kit.ReadManifest(t, "completion.yaml"))
	kit.WaitUntil(t, "the pod of the deployment", func() bool {
		c.shop = kit.RunKubectl(t, "get", "pods", "-n", c.namespace, "-l", "app=shop", "-o", "jsonpath={.items[*].metadata.name}")
		return c.shop != ""
	})

	c.writeFile(t, "contexts", extraContexts)
	c.writeFile(t, "file-more", "")
	return c
}

// writeFile writes a file of the home directory, and returns its path.
func (c completionHome) writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listEnvironment returns the environment of a shell with that home.
func (c completionHome) listEnvironment() []string {
	return []string{
		"PATH=" + kit.RootPath("bin") + ":" + os.Getenv("PATH"),
		"KUBECONFIG=" + kit.KubeconfigPath() + ":" + filepath.Join(c.dir, "contexts"),
		"HOME=" + c.dir, "ZDOTDIR=" + c.dir, "XDG_CONFIG_HOME=" + c.dir, "XDG_DATA_HOME=" + filepath.Join(c.dir, ".local/share"),
	}
}

// fillNames puts the names of this run into a line.
func (c completionHome) fillNames(line string) string {
	// The last digits of the random name tell it from others.
	part := c.namespace[:len(c.namespace)-1]
	return strings.NewReplacer("NS", c.namespace, "SHOP", c.shop, "PART", part, "FILE", filepath.Join(c.dir, "file")).Replace(line)
}

// openShell opens a terminal with a shell in which completion is switched on as the
// README says.
func (c completionHome) openShell(t *testing.T, name string) *kit.Terminal {
	t.Helper()
	switch name {
	case "bash":
		return c.openBash(t, "source <(kdiag completion bash)\n")
	case "kubectl in bash":
		return c.openBash(t, "source /usr/share/bash-completion/bash_completion\nsource <(kubectl completion bash)\n")
	case "zsh":
		return c.openZsh(t, "setopt interactivecomments\nautoload -U compinit\ncompinit -u\nsource <(kdiag completion zsh)\n")
	case "kubectl in zsh":
		return c.openZsh(t, "autoload -U compinit\ncompinit -u\nsource <(kubectl completion zsh)\n")
	case "fish":
		return c.openFish(t)
	}

	t.Fatalf("no shell %q", name)
	return nil
}

// openBash opens a terminal with a bash that reads what is given at its start.
func (c completionHome) openBash(t *testing.T, startup string) *kit.Terminal {
	t.Helper()
	file := c.writeFile(t, "rc", "PS1='laptop$ '\n"+startup)
	return kit.OpenTerminalWith(t, c.listEnvironment(), "bash", "--noprofile", "--rcfile", file, "-i")
}

// openZsh opens a terminal with a zsh that reads what is given at its start.
func (c completionHome) openZsh(t *testing.T, startup string) *kit.Terminal {
	t.Helper()
	c.writeFile(t, ".zshrc", "PS1='laptop$ '\n"+startup)
	return kit.OpenTerminalWith(t, c.listEnvironment(), "zsh", "-d", "-i")
}

// openFish opens a terminal with a fish.
func (c completionHome) openFish(t *testing.T) *kit.Terminal {
	t.Helper()
	// Without this directory fish makes completions from all man pages, in the
	// background and beyond its own end (fish, __fish_config_interactive).
	if err := os.MkdirAll(filepath.Join(c.dir, ".local/share/fish/generated_completions"), 0o700); err != nil {
		t.Fatal(err)
	}
	return kit.OpenTerminalWith(t, c.listEnvironment(), "fish", "-i", "-C",
		"function fish_prompt; printf 'laptop$ '; end; set fish_greeting; set -g fish_autosuggestion_enabled 0; kdiag completion fish | source")
}

// completeLine types a line, presses Tab, and waits for what the line must become.
// A mark behind it shows whether there is a blank.
func completeLine(x *kit.Terminal, line, want string) {
	x.T.Helper()
	offerCompletion(x, line, "Tab")
	x.RunTmux("send-keys", "-l", "#")
	x.WaitForText("laptop$ " + want + "#")
}

// offerCompletion types a line on an empty screen, and presses keys.
func offerCompletion(x *kit.Terminal, line string, keys ...string) {
	x.T.Helper()
	x.PressKeys("C-u", "C-l")
	x.WaitForPrompt()
	x.RunTmux("send-keys", "-l", line)
	x.PressKeys(keys...)
}

// TestCompletion presses Tab in real shells.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			c := createCompletionHome(t)
			x := c.openShell(t, shell)
			for _, tab := range completions {
				t.Run(tab.typed, func(t *testing.T) {
					completeLine(x.ForTest(t), c.fillNames(tab.typed), c.fillNames(tab.becomes))
				})
			}

			// Two Tabs list what there is, with descriptions.
			offerCompletion(x, "kdiag ", "Tab", "Tab")
			x.WaitForText("Get a shell in any container")
			t.Logf("screen:\n%s", x.ReadScreen())
			offerCompletion(x, "kdiag shell -n "+c.namespace+" ", "Tab", "Tab")
			x.WaitForText("batch-2")
			x.WaitForText("deploy/")
			t.Logf("screen:\n%s", x.ReadScreen())
			offerCompletion(x, "kdiag shell -n "+c.namespace+" deploy/shop -c ", "Tab", "Tab")
			x.WaitForText("init, localhost/kdiag-sample")
		})
	}
}

// TestCompletionWithoutRights offers nothing, and prints no error, where a user has
// no rights.
func TestCompletionWithoutRights(t *testing.T) {
	c := createCompletionHome(t)
	for _, line := range [][]string{
		{"shell", "--as=nobody", "-n", c.namespace, "batch"},
		{"shell", "--as=nobody", "-n", ""},
		{"shell", "--as=nobody", "-n", c.namespace, "deploy/shop", "-c", ""},
		{"redir", "--as=nobody", "-n", c.namespace, "deploy/shop", ""},
	} {
		got := kit.RunKdiag(t, append([]string{"__complete"}, line...)...)
		if got.Code != 0 || got.Stderr != "" || got.Stdout != ":4\n" {
			t.Errorf("__complete %q: %s, want nothing", line, got)
		}
	}
}

// TestCompletionThroughKubectl presses Tab in kubectl's own completion, which
// asks kubectl_complete-kdiag.
func TestCompletionThroughKubectl(t *testing.T) {
	for _, shell := range []string{"kubectl in bash", "kubectl in zsh"} {
		t.Run(shell, func(t *testing.T) {
			c := createCompletionHome(t)
			x := c.openShell(t, shell)
			for _, tab := range []completion{
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
					completeLine(x.ForTest(t), c.fillNames(tab.typed), c.fillNames(tab.becomes))
				})
			}

			offerCompletion(x, "kubectl kdiag shell -n "+c.namespace+" ", "Tab", "Tab")
			x.WaitForText("batch-2")
			t.Logf("screen:\n%s", x.ReadScreen())
		})
	}
}
