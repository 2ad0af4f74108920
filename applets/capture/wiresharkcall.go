package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/extcap"
	"kdiag/applets/internal/laptop/packetfilter"
	"kdiag/applets/internal/laptop/slowfiles"
	"kdiag/kube"
	"kdiag/mux/wire"
)

const (
	callName = "__extcap"

	interfaceName    = "kdiag"
	interfaceDisplay = "Kubernetes pod"
)

// WiresharkCall declares what answers Wireshark, which calls it by no name.
func WiresharkCall() applets.Applet {
	return applets.Applet{
		Name:      callName,
		Summary:   "Answer a call of Wireshark's",
		ArgsUsage: "--extcap-…",
		Hidden:    true,
		Raw:       true,
		Args:      []applets.Kind{applets.KindText},
		Run:       answerWireshark,
	}
}

// WiresharkCallName returns the name of WiresharkCall's applet if a command line is one of
// Wireshark's, and "" if it is a user's.
func WiresharkCallName(args []string) string {
	if extcap.IsCall(args) {
		return callName
	}

	return ""
}

func answerWireshark(ctx context.Context, inv *applets.Invocation) error {
	call, err := extcap.ParseCall(inv.Args)
	if err != nil {
		return &applets.UsageError{Err: err}
	}

	switch call.Action {
	case extcap.ListInterfaces:
		return listInterfaces(inv)
	case extcap.ListLinkTypes:
		return printSentence(inv.Out, extcap.NewSentence("dlt").With("number", "1").With("name", "EN10MB").With("display", "Ethernet"))
	case extcap.CheckFilter:
		return printFilterFault(inv.Out, call.Filter)
	case extcap.ListArguments:
		return extcap.WriteArguments(inv.Out, callArguments(ctx, inv, call))
	case extcap.ReloadArgument:
		return reloadArgument(ctx, inv, call)
	}

	return captureForWireshark(ctx, inv, call)
}

// printSentence writes one line of an answer.
func printSentence(out io.Writer, sentence *extcap.Sentence) error {
	_, err := fmt.Fprintln(out, sentence)

	return err
}

func listInterfaces(inv *applets.Invocation) error {
	about := extcap.NewSentence("extcap").With("version", cmp.Or(inv.Build.Version, "0")).With("display", "kdiag")
	offered := extcap.NewSentence("interface").With("value", interfaceName).With("display", interfaceDisplay)

	return errors.Join(printSentence(inv.Out, about), printSentence(inv.Out, offered))
}

// printFilterFault prints what is wrong with a filter: Wireshark takes any text for a fault.
func printFilterFault(out io.Writer, filter string) error {
	_, err := packetfilter.Compile(filter, wire.LinkEthernet, wire.MaxSnapLen)
	if err != nil {
		fmt.Fprintln(out, wire.Printable(err.Error()))
	}

	return nil
}

// The options that the window offers, by their names.
const (
	namespaceOption  = "namespace"
	podOption        = "pod"
	targetOption     = "target"
	allOption        = "all"
	processesOption  = "processes"
	interfaceOption  = "interface"
	contextOption    = "context"
	kubeconfigOption = "kubeconfig"
	imageOption      = "image"
)

// callArguments returns the options that the window offers, with what the cluster has.
func callArguments(ctx context.Context, inv *applets.Invocation, call extcap.Call) []extcap.Argument {
	const cluster = "Cluster"
	namespaces, pods := listChoices(ctx, inv, call)

	return []extcap.Argument{
		namespaces, pods,
		{Name: targetOption, Display: "Another one", Type: "string", Placeholder: "POD or TYPE/NAME", Tooltip: "A pod or workload that is not in the list"},
		{Name: allOption, Display: "All pods of the workload", Type: "boolflag", Tooltip: "Capture from every pod of TYPE/NAME at once"},
		{Name: processesOption, Display: "Processes in comments", Type: "boolflag", Tooltip: "Comment packets with the container and process"},
		{Name: interfaceOption, Display: "Interface", Type: "string", Placeholder: "all", Tooltip: "Capture only from this interface of the pod"},
		{Name: contextOption, Display: "Context", Type: "string", Group: cluster, Placeholder: "the current one", Tooltip: "Kubeconfig context to use"},
		{Name: kubeconfigOption, Display: "Kubeconfig", Type: "fileselect", Group: cluster, Tooltip: "Kubeconfig file to use"},
		{Name: imageOption, Display: "Image", Type: "string", Group: cluster, Placeholder: inv.Build.Image, Tooltip: "Image to run in the pod"},
	}
}

// choiceTime bounds the questions to the cluster: Wireshark asks when it starts, and waits.
const choiceTime = 3 * time.Second

// listChoices asks the cluster for namespaces, and for the pods and workloads of the chosen one. What
// it may not list, or not in time, is left out: the user can write it.
func listChoices(ctx context.Context, inv *applets.Invocation, call extcap.Call) (namespaces, pods extcap.Argument) {
	ctx, cancel := context.WithTimeout(ctx, choiceTime)
	defer cancel()

	namespaces = extcap.Argument{Name: namespaceOption, Display: "Namespace", Type: "selector", Reload: true}
	pods = extcap.Argument{Name: podOption, Display: "Pod or workload", Type: "selector", Reload: true,
		Tooltip: "Load it again after you have chosen a namespace"}

	type choices struct{ namespaces, pods extcap.Argument }
	found, err := slowfiles.Read(ctx, "the kubeconfig", func() (choices, error) {
		cluster, err := kube.Connect(connectOptions(inv, call), io.Discard)
		if err != nil {
			return choices{}, err
		}

		listed := choices{namespaces, pods}
		listed.namespaces.Default = cluster.Namespace
		listed.namespaces.Values = listNamespaces(ctx, cluster)
		listed.pods.Values = listTargets(ctx, cluster)
		return listed, nil
	})
	if err != nil {
		return namespaces, pods
	}

	return found.namespaces, found.pods
}

// connectOptions returns how to reach the cluster that the user has chosen.
func connectOptions(inv *applets.Invocation, call extcap.Call) kube.ConnectOptions {
	return kube.ConnectOptions{
		Kubeconfig: call.Options[kubeconfigOption], Context: call.Options[contextOption],
		Namespace: call.Options[namespaceOption], UserAgent: inv.UserAgent(),
	}
}

// nameLister lists objects. *kube.Cluster is the real one.
type nameLister interface {
	ListNames(ctx context.Context, resource string) ([]kube.NamedObject, error)
}

// listNamespaces lists the namespaces, the chosen one first.
func listNamespaces(ctx context.Context, cluster *kube.Cluster) []extcap.Value {
	values := []extcap.Value{{Value: cluster.Namespace, Display: cluster.Namespace}}
	names, _ := cluster.ListNames(ctx, kube.Namespaces)
	for _, each := range names {
		if each.Name != cluster.Namespace {
			values = append(values, extcap.Value{Value: each.Name, Display: each.Name})
		}
	}

	return values
}

// listTargets lists the pods of a namespace, and then its workloads.
func listTargets(ctx context.Context, cluster nameLister) []extcap.Value {
	values := namesOf(ctx, cluster, "pods", "")
	for _, t := range []struct{ resource, short string }{
		{"deployments", "deploy"}, {"statefulsets", "sts"}, {"daemonsets", "ds"},
	} {
		values = append(values, namesOf(ctx, cluster, t.resource, t.short+"/")...)
	}

	return values
}

// namesOf lists the objects of a resource that stay.
func namesOf(ctx context.Context, cluster nameLister, resource, prefix string) (values []extcap.Value) {
	names, _ := cluster.ListNames(ctx, resource)
	for _, each := range names {
		if !each.Deleting {
			values = append(values, extcap.Value{Value: prefix + each.Name, Display: prefix + each.Name})
		}
	}

	return values
}

// reloadArgument writes what one option offers now.
func reloadArgument(ctx context.Context, inv *applets.Invocation, call extcap.Call) error {
	for number, argument := range callArguments(ctx, inv, call) {
		if argument.Name == call.Reload {
			return extcap.WriteValues(inv.Out, number, argument)
		}
	}

	return applets.Usage("no option is called %q", call.Reload)
}

// captureForWireshark captures into Wireshark's pipe. Nothing but a fault is printed: Wireshark takes
// every line for one.
func captureForWireshark(ctx context.Context, inv *applets.Invocation, call extcap.Call) error {
	line, err := captureLine(call)
	if err != nil {
		return err
	}

	release, err := awaitReader(ctx, call.Fifo)
	if err != nil {
		return err
	}
	defer release()

	quiet := applets.Streams{In: inv.In, Out: io.Discard, Err: io.Discard}
	err = applets.Execute(ctx, Applet(), "kdiag", line, inv.Build, quiet)
	if isPipeClosed(err) {
		return nil // Wireshark has what it wants
	}

	return err
}

// awaitReader waits until Wireshark reads its pipe: no signal ends an open that waits. It returns what
// gives the pipe up.
func awaitReader(ctx context.Context, fifo string) (release func(), err error) {
	info, err := os.Stat(fifo)
	if err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return func() {}, nil //nolint:nilerr // whoever opens it says what is wrong
	}

	pipe, err := slowfiles.Read(ctx, "Wireshark's pipe", func() (*os.File, error) {
		return os.OpenFile(fifo, os.O_WRONLY, 0)
	})
	if err != nil {
		return nil, err
	}

	return func() { _ = pipe.Close() }, nil
}

// captureLine returns the command line of "kdiag capture" that does what Wireshark asks for.
func captureLine(call extcap.Call) ([]string, error) {
	target := cmp.Or(call.Options[targetOption], call.Options[podOption])
	if target == "" {
		return nil, applets.WithHint(applets.Usage("no pod is chosen"),
			"choose one with the gear icon beside \"%s\", or with -o extcap.%s.%s:POD", interfaceDisplay, interfaceName, podOption)
	}

	line := []string{target, "--write=" + call.Fifo}
	for _, name := range []string{namespaceOption, interfaceOption, contextOption, kubeconfigOption, imageOption} {
		if value := call.Options[name]; value != "" {
			line = append(line, "--"+name+"="+value)
		}
	}

	for _, name := range []string{allOption, processesOption} {
		if value, given := call.Options[name]; given && !strings.EqualFold(value, "false") {
			line = append(line, "--"+name)
		}
	}

	if call.Filter != "" {
		line = append(line, " "+call.Filter) // which is no flag, whatever it is
	}

	return line, nil
}

// isPipeClosed reports whether an error is that of a pipe that nobody reads any more.
func isPipeClosed(err error) bool {
	const noData, brokenPipe = syscall.Errno(232), syscall.Errno(109)
	if runtime.GOOS == "windows" {
		return errors.Is(err, noData) || errors.Is(err, brokenPipe)
	}

	return errors.Is(err, syscall.EPIPE)
}
