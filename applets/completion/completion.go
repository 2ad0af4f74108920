// Package completion implements shell completion: "kdiag completion" prints the
// script for a shell, and the hidden "kdiag __complete" returns the candidates to
// that script or to kubectl.
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

// Applet declares "kdiag completion".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "completion",
		Summary:   "Print a shell completion script",
		ArgsUsage: "bash | zsh | fish | powershell",
		Examples: `
			source <(kdiag completion bash)    # now; add it to ~/.bashrc to keep it
			source <(kdiag completion zsh)     # after compinit; add it to ~/.zshrc to keep it
		`,
		Description: `
			"kubectl kdiag" needs only kubectl's own completion script: link this binary as
			kubectl_complete-kdiag in the directory of kubectl-kdiag.
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
		Summary: "Print the completion script for " + shell,
		Args:    []applets.Kind{applets.KindNone},
		Examples: fmt.Sprintf(`
			%s
			# add the same line to %s to keep it
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
