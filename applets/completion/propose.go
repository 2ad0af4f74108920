package completion

import (
	"context"
	"strings"

	"kdiag/applets"
	"kdiag/applets/kubeflags"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// known is what can be named without asking anybody.
type known struct {
	applets []applets.Applet
	topics  []applets.Topic
}

// propose finds what could stand at the end of a line. What goes wrong on the
// way is no candidate: a user who pressed Tab has asked nothing yet.
func (k known) propose(ctx context.Context, words []string, build applets.Build, streams applets.Streams) answer {
	line, ok := applets.ReadPartial(ctx, k.applets, words, build, streams)
	if !ok {
		return answer{directive: noFiles}
	}

	switch {
	case line.Flag != nil:
		kind, fixed := applets.Meaning(line.Flag)
		return k.ofKind(ctx, &line, kind, fixed)
	case strings.HasPrefix(line.Word, "-") && line.Rest == nil:
		return flags(&line).starting(line.Word)
	case len(line.Commands) > 0 && line.Rest == nil:
		return commands(line.Commands).starting(line.Word)
	}

	return k.ofKind(ctx, &line, line.ArgKind(), nil)
}

// ofKind are the candidates for a word of a kind.
func (k known) ofKind(ctx context.Context, line *applets.Partial, kind applets.Kind, fixed []string) answer {
	switch kind {
	case applets.KindFile, applets.KindCommand:
		return answer{directive: files}
	case applets.KindFixed:
		return words(fixed).starting(line.Word)
	case applets.KindTopic:
		return k.pages().starting(line.Word)
	case applets.KindContext, applets.KindCluster, applets.KindUser:
		return configured(line, kind).starting(line.Word)
	case applets.KindTarget, applets.KindPod, applets.KindContainer, applets.KindPort, applets.KindSelector, applets.KindNamespace:
		return inCluster(ctx, line, kind).starting(line.Word)
	}

	return answer{directive: noFiles}
}

func words(list []string) answer {
	found := answer{directive: noFiles}
	for _, word := range list {
		found.candidates = append(found.candidates, candidate{word: word})
	}
	return found
}

func commands(list []applets.Applet) answer {
	found := answer{directive: noFiles}
	for _, a := range list {
		if !a.Hidden {
			found.candidates = append(found.candidates, candidate{a.Name, a.Summary})
		}
	}
	return found
}

// pages are what "kdiag help" tells about.
func (k known) pages() answer {
	found := commands(k.applets)
	for _, t := range k.topics {
		found.candidates = append(found.candidates, candidate{t.Name, t.Summary})
	}
	return found
}

func flags(line *applets.Partial) answer {
	found := answer{directive: noFiles}
	for _, flag := range line.FlagWords() {
		about := ""
		if doc, ok := flag.Flag.(cli.DocGenerationFlag); ok {
			about = doc.GetUsage()
		}
		found.candidates = append(found.candidates, candidate{flag.Name, about})
	}

	found.candidates = append(found.candidates, candidate{"--help", "Tell about this command"})
	if line.Applet == nil {
		found.candidates = append(found.candidates, candidate{"--version", "Say which kdiag this is"})
	}

	return found
}

// configured are names from the kubeconfig.
func configured(line *applets.Partial, kind applets.Kind) answer {
	if line.Flags == nil {
		return answer{directive: noFiles}
	}

	names, err := kubeflags.Options(line.Invocation).Names()
	switch {
	case err != nil:
		return answer{directive: noFiles}
	case kind == applets.KindContext:
		return words(names.Contexts)
	case kind == applets.KindCluster:
		return words(names.Clusters)
	}

	return words(names.Users)
}

// inCluster are the candidates that the API server knows.
func inCluster(ctx context.Context, line *applets.Partial, kind applets.Kind) answer {
	none := answer{directive: noFiles}
	if line.Flags == nil {
		return none
	}

	cluster, err := kubeflags.Connect(line.Invocation)
	if err != nil {
		return none
	}

	look := &look{ctx, cluster, line}
	switch kind {
	case applets.KindTarget:
		return look.targets()
	case applets.KindPod:
		return look.names("pods", "")
	case applets.KindNamespace:
		return look.names(kube.Namespaces, "")
	case applets.KindSelector:
		return look.selectors()
	case applets.KindContainer:
		return look.containers()
	case applets.KindPort:
		return look.ports()
	}

	return none
}
