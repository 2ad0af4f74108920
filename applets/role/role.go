// Package role is the applet that prints the rights which kdiag's commands
// need, as a Role of Kubernetes'. It asks no cluster.
package role

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// Applet is "kdiag role".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "role",
		Summary:   "Print the least Role that commands need, for kubectl apply",
		ArgsUsage: "[COMMAND ...] [flags]",
		Args:      []applets.Kind{applets.KindText},
		Examples: `
			kubectl kdiag role shell ps | kubectl apply -n prod -f -
			kubectl kdiag role --kinds deploy,sts --group developers    # all commands, and who may use them
		`,
		Description: `
			Commands are ` + strings.Join(kube.RoleCommands(), ", ") + `; without one, all of them. The rights are enough
			for pods by name, and for the kinds of target that --kinds adds. What is optional stands in
			comments, with what it is good for. Nothing is asked of a cluster and nothing changed.
		`,
		Flags: []cli.Flag{
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "kinds", Usage: "`KINDS` of target: deploy, sts, ds, rs, job, svc, selector; separated by commas"}),
			&cli.BoolFlag{Name: "optional", Usage: "Grant the optional rights, too"},
			applets.Takes(applets.KindText, &cli.StringFlag{Name: "name", Usage: "Name of the Role, and of its RoleBinding", Value: "kdiag"}),
			applets.Takes(applets.KindNamespace, &cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "Namespace to write into it; default: kubectl's, when it is applied"}),
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "user", Usage: "User to bind it to, by a RoleBinding; may be repeated"}),
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "group", Usage: "Group to bind it to; may be repeated"}),
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "serviceaccount", Usage: "Service account to bind it to, `NAMESPACE:NAME`; may be repeated"}),
		},
		Run: printRole,
	}
}

func printRole(_ context.Context, inv *applets.Invocation) error {
	if len(inv.Rest) > 0 {
		return applets.Usage("role runs no command, got %q", inv.Rest)
	}
	o, err := parseOptions(inv)
	if err != nil {
		return err
	}
	_, err = io.WriteString(inv.Out, o.formatManifest())
	return err
}

// options say what is printed.
type options struct {
	// called is how the user calls kdiag.
	called   string
	commands []string
	rights   kube.RoleRights
	// granted says that the optional rights are granted, too.
	granted         bool
	name, namespace string
	subjects        []subject
}

// parseOptions reads the line.
func parseOptions(inv *applets.Invocation) (options, error) {
	f := inv.Flags
	o := options{
		called: strings.TrimSuffix(inv.Path, " role"), granted: f.Bool("optional"),
		name: f.String("name"), namespace: f.String("namespace"),
	}
	if o.name == "" {
		return o, applets.Usage("--name must not be empty")
	}

	var err error
	if o.commands, err = chooseCommands(inv.Args); err != nil {
		return o, err
	}

	kinds, err := readKinds(f.StringSlice("kinds"))
	if err != nil {
		return o, err
	}
	if o.rights, err = kube.RoleRightsFor(o.commands, kinds); err != nil {
		return o, applets.Usage("%w", err)
	}

	o.subjects, err = readSubjects(f.StringSlice("user"), f.StringSlice("group"), f.StringSlice("serviceaccount"))
	return o, err
}

// chooseCommands are the commands that were named, each once and in kdiag's
// order; all of them, where none was.
func chooseCommands(named []string) ([]string, error) {
	all := kube.RoleCommands()
	if len(named) == 0 {
		return all, nil
	}

	for _, name := range named {
		if !slices.Contains(all, name) {
			err := applets.Usage("%q is no command that needs rights: those are %s", name, strings.Join(all, ", "))
			return nil, applets.DidYouMean(err, name, all)
		}
	}

	return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(named, name) }), nil
}

// readKinds reads lists of kinds of target.
func readKinds(lists []string) ([]string, error) {
	var kinds []string
	for kind := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		if kind = strings.TrimSpace(kind); kind == "" {
			continue
		}
		if _, known := kube.Resource(kind); !known && kind != kube.AnyPods {
			return nil, applets.Usage("--kinds %s: the kinds are deploy, sts, ds, rs, job, svc and %s", kind, kube.AnyPods)
		}
		kinds = append(kinds, kind)
	}

	return kinds, nil
}

// subject is whom a RoleBinding gives the Role to.
type subject struct{ kind, name, namespace string }

func readSubjects(users, groups, accounts []string) ([]subject, error) {
	var subjects []subject
	for _, user := range users {
		subjects = append(subjects, subject{kind: "User", name: user})
	}

	for _, group := range groups {
		subjects = append(subjects, subject{kind: "Group", name: group})
	}

	for _, account := range accounts {
		namespace, name, _ := strings.Cut(account, ":")
		if namespace == "" || name == "" {
			return nil, applets.Usage("--serviceaccount %s: it must be NAMESPACE:NAME", account)
		}
		subjects = append(subjects, subject{"ServiceAccount", name, namespace})
	}

	for _, s := range subjects {
		if s.name == "" {
			return nil, applets.Usage("a %s without a name", strings.ToLower(s.kind))
		}
	}

	return subjects, nil
}

// headingComment is the comment that a Role begins with.
func (o options) headingComment() string {
	commands := "all commands"
	if len(o.commands) < len(kube.RoleCommands()) {
		commands = strings.Join(o.commands, ", ")
	}
	return fmt.Sprintf("# What %s needs for %s, for kubectl apply -f -\n", o.called, commands)
}
