package logs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/kube"
)

const (
	defaultStreams  = 50
	defaultDrain    = time.Second
	defaultDrainMax = 10 * time.Second
)

// options holds the parsed command line.
type options struct {
	selections []logSelection
	namespaces []string // none for the kubeconfig's; "" for all
	startPoint
	tailGiven      bool
	once, previous bool
	exitCodeFrom   string // the name of a Job
	streams        int
	timeout        time.Duration

	include, exclude []*regexp.Regexp
	failOn, until    *regexp.Regexp
	highlight        *regexp.Regexp
	timestamps       bool
	output           string
	template         string
	colour           string
	file             string
	quiet            bool

	child           *childProcess
	lasting         time.Duration // --for
	drain, drainMax time.Duration
}

// parseOptions parses the flags. It does not contact the cluster.
func parseOptions(inv *applets.Invocation) (*options, error) {
	f := inv.Flags
	o := &options{
		startPoint: startPoint{since: f.Duration("since"), tail: f.Int64("tail")},
		once:       !f.Bool("follow") || f.Bool("previous"), previous: f.Bool("previous"),
		streams: f.Int("max-streams"), timeout: f.Duration("timeout"),
		timestamps: f.Bool("timestamps"), output: f.String("output"), template: f.String("template"),
		colour: f.String("color"), file: f.String("logs-to"), quiet: f.Bool("quiet"),
		lasting: f.Duration("for"), drain: f.Duration("drain-duration"), drainMax: f.Duration("drain-max"),
	}
	if o.tailGiven = f.IsSet("tail"); o.once && !o.tailGiven {
		o.tail = -1
	}

	for _, read := range []func(*applets.Invocation) error{o.parseNamespaces, o.parseSelections, o.parsePatterns, o.checkOptions, o.parseExitCodeFrom, o.parseCommand} {
		if err := read(inv); err != nil {
			return nil, err
		}
	}

	return o, nil
}

func (o *options) parseSelections(inv *applets.Invocation) error {
	f := inv.Flags
	r := selectionArgs{
		args: inv.Args, pods: f.StringSlice("pod"), selectors: f.StringSlice("selector"), all: f.Bool("all"),
		everywhere: f.Bool("all-namespaces"),
		containers: kube.LogContainers{
			Names: f.StringSlice("container"),
			Init:  f.Bool("init-containers"), Ephemeral: f.Bool("ephemeral-containers"),
		},
	}

	switch {
	case f.Bool("all-containers"):
		r.containers.Which = kube.AllContainers
	case f.IsSet("all-containers"):
		r.containers.Which = kube.OneContainer
	}

	if r.containers.Names != nil && f.Bool("all-containers") {
		return applets.Usage("-c and --all-containers can't be combined")
	}

	var err error
	if o.selections, err = r.parseSelections(); err != nil {
		return applets.Usage("%w", err)
	}

	return nil
}

func (o *options) parsePatterns(inv *applets.Invocation) error {
	f := inv.Flags
	one := func(to **regexp.Regexp, flag string, texts []string) error {
		list, err := compilePatterns(flag, texts)
		switch {
		case err != nil || len(list) == 0:
			return err
		case len(list) == 1:
			*to = list[0] // shown as the user wrote it
		default:
			// Joined into one pattern: each has been compiled by itself.
			*to = regexp.MustCompile("(?:" + strings.Join(texts, ")|(?:") + ")")
		}
		return nil
	}

	given := func(flag string) []string {
		if text := f.String(flag); text != "" {
			return []string{text}
		}
		return nil
	}

	var errs [2]error
	o.include, errs[0] = compilePatterns("include", f.StringSlice("include"))
	o.exclude, errs[1] = compilePatterns("exclude", f.StringSlice("exclude"))
	err := errors.Join(errs[0], errs[1],
		one(&o.highlight, "highlight", f.StringSlice("highlight")),
		one(&o.failOn, "fail-on", given("fail-on")),
		one(&o.until, "until", given("until")))
	if err != nil {
		return applets.Usage("%w", err)
	}

	return nil
}

// compilePatterns compiles the regular expressions of a flag.
func compilePatterns(flag string, texts []string) ([]*regexp.Regexp, error) {
	var list []*regexp.Regexp
	for _, text := range texts {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		list = append(list, pattern)
	}
	return list, nil
}

// checkOptions rejects invalid values and combinations.
func (o *options) checkOptions(inv *applets.Invocation) error {
	switch {
	case o.streams < 1:
		return applets.Usage("--max-streams must be at least 1, got %d", o.streams)
	case o.tail < -1:
		return applets.Usage("--tail must be a number of lines, or -1 for all, got %d", o.tail)
	case o.since < 0, o.lasting < 0, o.drain < 0, o.drainMax < 0:
		return applets.Usage("--since, --for, --drain-duration and --drain-max must not be negative")
	case o.timeout <= 0:
		return applets.Usage("--timeout must be longer than 0")
	case o.template != "" && inv.Flags.IsSet("output"):
		return applets.Usage("--output and --template can't be combined")
	case o.once && inv.Rest != nil:
		return applets.Usage("a command can't be combined with --previous or --follow=false")
	case o.once && (o.until != nil || o.lasting > 0):
		return applets.Usage("--until and --for can't be combined with --previous or --follow=false")
	}

	if o.template != "" {
		if _, err := newTemplateFormat(o.template); err != nil {
			return applets.Usage("--template: %w", err)
		}
	}

	return nil
}

func (o *options) parseCommand(inv *applets.Invocation) error {
	if inv.Rest == nil {
		return nil
	}
	if len(inv.Rest) == 0 {
		return applets.Usage("no command after --")
	}
	var err error
	o.child, err = findProgram(inv.Rest, inv.Streams)
	return err
}
