package completion

import (
	"context"
	"strings"

	"kdiag/applets"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
)

// catalogue holds what can be proposed without asking the cluster.
type catalogue struct {
	applets []applets.Applet
	topics  []applets.Topic
}

// proposeWords proposes words for the end of a line. It ignores errors, since a user
// who pressed Tab has not run anything yet.
func (k catalogue) proposeWords(ctx context.Context, words []string, build applets.Build, streams applets.Streams) answer {
	line, ok := applets.ReadPartial(ctx, k.applets, words, build, streams)
	if !ok {
		return answer{directive: noFiles}
	}

	switch {
	case line.Flag != nil:
		kind, fixed := applets.FlagMeaning(line.Flag)
		return k.proposeKind(ctx, &line, kind, fixed)
	case strings.HasPrefix(line.Word, "-") && line.Rest == nil:
		return proposeFlags(&line).withPrefix(line.Word)
	case len(line.Commands) > 0 && line.Rest == nil:
		return proposeCommands(line.Commands).withPrefix(line.Word)
	}

	return k.proposeKind(ctx, &line, line.ArgKind(), nil)
}

// proposeKind proposes words of a kind.
func (k catalogue) proposeKind(ctx context.Context, line *applets.Partial, kind applets.Kind, fixed []string) answer {
	switch kind {
	case applets.KindFile, applets.KindCommand:
		return answer{directive: files}
	case applets.KindFixed:
		return proposeFixed(fixed).withPrefix(line.Word)
	case applets.KindTopic:
		return k.proposePages().withPrefix(line.Word)
	case applets.KindContext, applets.KindCluster, applets.KindUser:
		return proposeConfigured(line, kind).withPrefix(line.Word)
	case applets.KindCopied:
		return proposeCopied(ctx, line)
	case applets.KindTarget, applets.KindPod, applets.KindContainer, applets.KindPort, applets.KindSelector, applets.KindNamespace:
		return proposeFromCluster(ctx, line, kind).withPrefix(line.Word)
	}

	return answer{directive: noFiles}
}

func proposeFixed(list []string) answer {
	found := answer{directive: noFiles}
	for _, word := range list {
		found.candidates = append(found.candidates, candidate{word: word})
	}
	return found
}

func proposeCommands(list []applets.Applet) answer {
	found := answer{directive: noFiles}
	for _, a := range list {
		if !a.Hidden {
			found.candidates = append(found.candidates, candidate{a.Name, a.Summary})
		}
	}
	return found
}

// proposePages proposes the pages of "kdiag help".
func (k catalogue) proposePages() answer {
	found := proposeCommands(k.applets)
	for _, t := range k.topics {
		found.candidates = append(found.candidates, candidate{t.Name, t.Summary})
	}
	return found
}

func proposeFlags(line *applets.Partial) answer {
	found := answer{directive: noFiles}
	for _, flag := range line.FlagWords() {
		found.candidates = append(found.candidates, candidate{flag.Name, applets.FlagUsage(flag.Flag)})
	}

	found.candidates = append(found.candidates, candidate{"--help", "Show help for this command"})
	if line.Applet == nil {
		found.candidates = append(found.candidates, candidate{"--version", "Print the version"})
	}

	return found
}

// proposeConfigured proposes names from the kubeconfig.
func proposeConfigured(line *applets.Partial, kind applets.Kind) answer {
	if line.Flags == nil {
		return answer{directive: noFiles}
	}

	names, err := kubeflags.Options(line.Invocation).ReadNames()
	switch {
	case err != nil:
		return answer{directive: noFiles}
	case kind == applets.KindContext:
		return proposeFixed(names.Contexts)
	case kind == applets.KindCluster:
		return proposeFixed(names.Clusters)
	}

	return proposeFixed(names.Users)
}

// proposeFromCluster proposes names that the API server knows.
func proposeFromCluster(ctx context.Context, line *applets.Partial, kind applets.Kind) answer {
	none := answer{directive: noFiles}
	if line.Flags == nil {
		return none
	}

	cluster, err := kubeflags.Connect(ctx, line.Invocation)
	if err != nil {
		return none
	}

	look := &clusterLookup{ctx, cluster, line}
	switch kind {
	case applets.KindTarget:
		return look.proposeTargets()
	case applets.KindPod:
		return look.proposeNames("pods", "")
	case applets.KindNamespace:
		return look.proposeNames(kube.Namespaces, "")
	case applets.KindSelector:
		return look.proposeSelectors()
	case applets.KindContainer:
		return look.proposeContainers()
	case applets.KindPort:
		return look.proposePorts()
	}

	return none
}
