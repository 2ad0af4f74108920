// Package completion is what a shell asks when its user presses Tab: the applet
// that prints a shell's script, and the hidden one that the scripts, and
// kubectl, call for the candidates.
package completion

import (
	"context"
	_ "embed" // the scripts
	"fmt"

	"kdiag/applets"
)

//go:embed kdiag.bash
var bash string

//go:embed kdiag.zsh
var zsh string

//go:embed kdiag.fish
var fish string

//go:embed kdiag.ps1
var powershell string

// Applet is "kdiag completion".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "completion",
		Summary:   "Print the script that completes kdiag's lines in your shell",
		ArgsUsage: "bash | zsh | fish | powershell",
		Examples: `
			source <(kdiag completion bash)    # now; in ~/.bashrc for always
			source <(kdiag completion zsh)     # after compinit; in ~/.zshrc for always
		`,
		Description: `
			For "kubectl kdiag" no script is needed but kubectl's own: link this binary as
			kubectl_complete-kdiag beside kubectl-kdiag in your PATH.
		`,
		Applets: []applets.Applet{
			scriptApplet("bash", bash, "source <(kdiag completion bash)", "~/.bashrc"),
			scriptApplet("zsh", zsh, "source <(kdiag completion zsh)", "~/.zshrc, after compinit"),
			scriptApplet("fish", fish, "kdiag completion fish | source", "~/.config/fish/config.fish"),
			scriptApplet("powershell", powershell, "kdiag completion powershell | Out-String | Invoke-Expression", "$PROFILE"),
		},
	}
}

func scriptApplet(shell, text, now, file string) applets.Applet {
	return applets.Applet{
		Name:    shell,
		Summary: "Print the script for " + shell,
		Args:    []applets.Kind{applets.KindNone},
		Examples: fmt.Sprintf(`
			%s
			# the same line in %s, for always
		`, now, file),
		Run: func(_ context.Context, inv *applets.Invocation) error {
			if len(inv.Args) > 0 {
				return applets.Usage("completion %s takes no arguments, got %q", shell, inv.Args)
			}
			_, err := fmt.Fprint(inv.Out, text)
			return err
		},
	}
}
