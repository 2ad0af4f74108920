// Package role implements "kdiag role", which prints the rights that kdiag's commands
// need as a Kubernetes Role. It does not contact a cluster.
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

// Applet declares "kdiag role".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "role",
		Summary:   "Print the smallest Role that commands need, for kubectl apply",
		ArgsUsage: "[COMMAND ...] [flags]",
		Args:      []applets.Kind{applets.KindText},
		Examples: `
			kubectl kdiag role shell ps | kubectl apply -n prod -f -
			kubectl kdiag role --kinds deploy,sts --group developers    # all commands, and who may use them
		`,
		Description: `
			COMMAND is ` + applets.JoinChoices(kube.RoleCommands()) + ` 
			(default all but shell-copy and shell-node, which are for shell --copy and node/NAME).
			The Role covers pods by name; --kinds adds other kinds of targets. Optional rights are printed as
			comments that say what they are for. Contacts no cluster and changes nothing.
		`,
		Flags: []cli.Flag{
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "kinds", Usage: "Allow targets of these `KINDS`, comma-separated: deploy, sts, ds, rs, job, cj, svc, selector"}),
			&cli.BoolFlag{Name: "optional", Usage: "Also grant the optional rights"},
			applets.Takes(applets.KindText, &cli.StringFlag{Name: "name", Usage: "Name of the Role and the RoleBinding", Value: "kdiag"}),
			applets.Takes(applets.KindNamespace, &cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "Namespace in the manifest", DefaultText: "none, so kubectl apply decides"}),
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "user", Usage: "Bind the Role to this user; may be repeated"}),
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "group", Usage: "Bind the Role to this group; may be repeated"}),
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "serviceaccount", Usage: "Bind the Role to service account `NAMESPACE:NAME`; may be repeated"}),
		},
		Run: printRole,
	}
}

func printRole(_ context.Context, inv *applets.Invocation) error {
	o, err := parseOptions(inv)
	if err != nil {
		return err
	}
	_, err = io.WriteString(inv.Out, o.formatManifest())
	return err
}

// options holds the parsed command line.
type options struct {
	// called is the name that the user calls kdiag by.
	called   string
	commands []string
	rights   kube.RoleRights
	// granted is set to grant the optional rights too.
	granted         bool
	name, namespace string
	subjects        []subject
}

// parseOptions parses the command line.
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

// chooseCommands returns the named commands, each once and in kdiag's order, or all
// commands if none was named.
func chooseCommands(named []string) ([]string, error) {
	all := kube.RoleCommands()
	if len(named) == 0 {
		return kube.DefaultRoleCommands(), nil
	}

	for _, name := range named {
		if !slices.Contains(all, name) {
			err := applets.Usage("%q: must be %s", name, applets.JoinChoices(all))
			return nil, applets.DidYouMean(err, name, all)
		}
	}

	return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(named, name) }), nil
}

// readKinds parses comma-separated lists of kinds of targets.
func readKinds(lists []string) ([]string, error) {
	var kinds []string
	for kind := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		if kind = strings.TrimSpace(kind); kind == "" {
			continue
		}
		if _, known := kube.ParseResource(kind); !known && kind != kube.AnyPods {
			return nil, applets.Usage("--kinds %s: must be deploy, sts, ds, rs, job, cj, svc or %s", kind, kube.AnyPods)
		}
		kinds = append(kinds, kind)
	}

	return kinds, nil
}

// subject names a user, group or service account of a RoleBinding.
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
			return nil, applets.Usage("--serviceaccount %s: must be NAMESPACE:NAME", account)
		}
		subjects = append(subjects, subject{"ServiceAccount", name, namespace})
	}

	for _, s := range subjects {
		if s.name == "" {
			return nil, applets.Usage("--%s must not be empty", strings.ToLower(s.kind))
		}
	}

	return subjects, nil
}

// headingComment returns the comment at the top of the manifest.
func (o options) headingComment() string {
	commands := "all commands"
	if !slices.Equal(o.commands, kube.DefaultRoleCommands()) {
		commands = strings.Join(o.commands, ", ")
	}
	return fmt.Sprintf("# The rights that %s needs for %s. To grant them: kubectl apply -f -\n", o.called, commands)
}
