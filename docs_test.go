package main

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// maxColumns is how wide a line of Markdown may be. Tables, code blocks and the targets of links
// cannot be broken, so they do not count.
const maxColumns = 100

// generatedPage is made from the commands' help, one paragraph a line.
const generatedPage = "docs/reference.md"

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	bareURL      = regexp.MustCompile(`https?://\S+`)
	codeSpan     = regexp.MustCompile("`[^`]*`")
	namedTest    = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*…?`)
	namedPath    = regexp.MustCompile("`((?:applets|docs|integration|internal|kube|mux|netfilter|scratch-shell|testdata)/[\\w./{},-]+)`")
	testFunc     = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
)

// markdownLine is a line of a page, and what kind of text it is part of.
type markdownLine struct {
	number int
	text   string
	code   bool // part of a code block
}

// readMarkdown reads the lines of a page.
func readMarkdown(t *testing.T, path string) []markdownLine {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	var lines []markdownLine
	fenced := false
	for number, line := range strings.Split(string(text), "\n") {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		lines = append(lines, markdownLine{number + 1, line, fenced || fence || strings.HasPrefix(line, "    ")})
		fenced = fenced != fence
	}

	return lines
}

// findFiles lists the files of the tree with one of the endings, without hidden directories and bin.
func findFiles(t *testing.T, ending string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ending) {
			files = append(files, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return files
}

// TestDocsLinksResolve follows every relative link of every page to its file, and to the heading in
// it that the link names.
func TestDocsLinksResolve(t *testing.T) {
	anchors := map[string]map[string]bool{}
	for _, page := range findFiles(t, ".md") {
		anchors[page] = readAnchors(t, page)
	}

	for page := range anchors {
		for _, line := range readMarkdown(t, page) {
			if line.code {
				continue
			}

			for _, match := range markdownLink.FindAllStringSubmatch(codeSpan.ReplaceAllString(line.text, ""), -1) {
				if problem := checkLink(page, match[1], anchors); problem != "" {
					t.Errorf("%s:%d: link to %s: %s", page, line.number, match[1], problem)
				}
			}
		}
	}
}

// checkLink says what is wrong with a link that stands on page, and "" if nothing is.
func checkLink(page, link string, anchors map[string]map[string]bool) (problem string) {
	target, err := url.Parse(link)
	if err != nil {
		return err.Error()
	}
	if target.Scheme != "" {
		return ""
	}

	path := page
	if target.Path != "" {
		path = filepath.ToSlash(filepath.Join(filepath.Dir(page), target.Path))
	}
	if _, err := os.Stat(path); err != nil {
		return "no such file"
	}
	if target.Fragment != "" && !anchors[path][target.Fragment] {
		return "no such heading"
	}

	return ""
}

// readAnchors lists the headings of a page, as they stand in the links to them.
func readAnchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	anchors := map[string]bool{}
	for _, line := range readMarkdown(t, page) {
		if heading := strings.TrimLeft(line.text, "#"); !line.code && heading != line.text {
			anchors[anchorOf(strings.TrimSpace(heading))] = true
		}
	}
	return anchors
}

// anchorOf writes a heading as GitHub does in links: lower case, hyphens for spaces, and no
// punctuation.
func anchorOf(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// TestDocsLinesAreNarrow measures every page that is written by hand.
func TestDocsLinesAreNarrow(t *testing.T) {
	for _, page := range findFiles(t, ".md") {
		if page == generatedPage {
			continue
		}

		for _, line := range readMarkdown(t, page) {
			if line.code || strings.HasPrefix(strings.TrimSpace(line.text), "|") {
				continue
			}

			text := bareURL.ReplaceAllString(markdownLink.ReplaceAllString(line.text, "]"), "")
			if width := utf8.RuneCountInString(text); width > maxColumns {
				t.Errorf("%s:%d: %d columns, want %d at most", page, line.number, width, maxColumns)
			}
		}
	}
}

// TestDocsNameRealTests looks for each test that a page names as evidence. "TestShell…" stands for
// all that begin so.
func TestDocsNameRealTests(t *testing.T) {
	var names []string
	for _, path := range findFiles(t, "_test.go") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}

		for _, match := range testFunc.FindAllStringSubmatch(string(text), -1) {
			names = append(names, match[1])
		}
	}

	for _, page := range findFiles(t, ".md") {
		for _, line := range readMarkdown(t, page) {
			for _, name := range namedTest.FindAllString(line.text, -1) {
				if !isTest(names, name) {
					t.Errorf("%s:%d: no test %s", page, line.number, name)
				}
			}
		}
	}
}

// isTest reports whether a page's name is that of a test, or the beginning of one.
func isTest(tests []string, name string) bool {
	beginning, open := strings.CutSuffix(name, "…")
	for _, test := range tests {
		if test == beginning || open && strings.HasPrefix(test, beginning) {
			return true
		}
	}
	return false
}

// TestDocsNameRealPaths looks for each file and directory of the tree that a page names.
func TestDocsNameRealPaths(t *testing.T) {
	for _, page := range findFiles(t, ".md") {
		for _, line := range readMarkdown(t, page) {
			for _, match := range namedPath.FindAllStringSubmatch(line.text, -1) {
				for _, path := range expandBraces(match[1]) {
					if _, err := os.Stat(path); err != nil {
						t.Errorf("%s:%d: no file or directory %s", page, line.number, path)
					}
				}
			}
		}
	}
}

// expandBraces writes "a/{b,c}/d" out, as a shell does: a/b/d and a/c/d.
func expandBraces(path string) []string {
	before, rest, braces := strings.Cut(path, "{")
	choices, after, closed := strings.Cut(rest, "}")
	if !braces || !closed {
		return []string{path}
	}

	var paths []string
	for choice := range strings.SplitSeq(choices, ",") {
		paths = append(paths, before+choice+after)
	}

	return paths
}

// errorsPage quotes kdiag's messages in the first column of its tables.
const errorsPage = "docs/errors.md"

// TestDocsQuoteRealErrors looks for the messages of errorsPage in the source. What kdiag fills in
// differs from one to the next, so of each row one piece in the source's own words is enough.
func TestDocsQuoteRealErrors(t *testing.T) {
	var source strings.Builder
	for _, path := range sources(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}

	for _, line := range readMarkdown(t, errorsPage) {
		if !strings.HasPrefix(line.text, "| `") {
			continue
		}

		cell, _, _ := strings.Cut(strings.TrimPrefix(line.text, "|"), "|")
		if !quotesAny(source.String(), quotedPieces(cell)) {
			t.Errorf("%s:%d: the source says nothing like %s", errorsPage, line.number, cell)
		}
	}
}

// filledIn matches what stands for something else in a quoted message.
var filledIn = regexp.MustCompile("[`…:\"]|\\S*[0-9]\\S*|USER@HOST|kdiag-|\\bdb\\.prod\\.svc|\\bweb\\b")

// quotedPieces returns the pieces of a quoted message that are long enough to be told apart.
func quotedPieces(message string) []string {
	var pieces []string
	for _, piece := range filledIn.Split(message, -1) {
		if piece = strings.TrimSpace(piece); len(piece) >= 10 {
			pieces = append(pieces, piece)
		}
	}
	return pieces
}

func quotesAny(source string, pieces []string) bool {
	for _, piece := range pieces {
		if strings.Contains(source, piece) {
			return true
		}
	}
	return false
}
