package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// forAll is what every package may import, and imports none of ours.
const forAll = "kdiag/mux/wire"

// mayImport is which of our own packages each may import beside forAll, by
// prefix. Dependencies point down only.
var mayImport = []struct {
	pkg     string
	imports []string
}{
	// What runs in the pod. It knows no Kubernetes.
	{"kdiag/applets/internal/pod/redirectserver", []string{"kdiag/applets/internal/pod/", "kdiag/mux", "kdiag/netfilter"}},
	{"kdiag/applets/internal/pod/podproc", []string{"kdiag/applets", "kdiag/applets/internal/pod/procfs"}},
	{"kdiag/applets/internal/pod/lockdown", []string{"kdiag/applets/internal/pod/procfs", "kdiag/applets/internal/pod/credentials"}},
	{"kdiag/applets/internal/pod/podsockets", []string{"kdiag/applets/internal/pod/procfs", "kdiag/applets/internal/pod/sockdiag"}},
	{"kdiag/applets/internal/pod/targetfiles", []string{"kdiag/mux/filecopy"}},
	{"kdiag/applets/internal/pod/", []string{"kdiag/applets/internal/pod/procfs"}},
	{"kdiag/applets/enter", []string{"kdiag/applets", "kdiag/applets/internal/pod/", "kdiag/scratch-shell"}},
	{"kdiag/applets/hold", []string{"kdiag/applets", "kdiag/applets/internal/pod/"}},
	{"kdiag/applets/inspect", []string{"kdiag/applets", "kdiag/applets/internal/pod/"}},
	{"kdiag/applets/packets", []string{"kdiag/applets", "kdiag/applets/internal/pod/"}},
	{"kdiag/applets/files", []string{"kdiag/applets", "kdiag/applets/internal/pod/", "kdiag/mux/filecopy"}},
	{"kdiag/applets/manager", []string{"kdiag/applets", "kdiag/applets/internal/pod/", "kdiag/mux", "kdiag/netfilter"}},
	// What runs on the laptop. It knows nothing of the kernel's tables.
	{"kdiag/applets/internal/laptop/localfiles", []string{"kdiag/mux/filecopy"}},
	{"kdiag/applets/cp", []string{"kdiag/applets", "kdiag/applets/kubeflags", "kdiag/applets/internal/laptop/", "kdiag/kube", "kdiag/mux/filecopy"}},
	{"kdiag/applets/internal/laptop/", []string{"kdiag/applets", "kdiag/applets/internal/laptop/", "kdiag/kube", "kdiag/mux"}},
	{"kdiag/applets/internal/testkit/runctest", []string{"kdiag/integration/testenv"}},
	{"kdiag/applets/internal/testkit/fakecluster", []string{"kdiag/kube", "kdiag/mux/wire"}},
	{"kdiag/applets/reference", []string{"kdiag/applets"}},
	{"kdiag/applets/kubeflags", []string{"kdiag/applets", "kdiag/applets/internal/laptop/", "kdiag/kube", "kdiag/mux"}},
	{"kdiag/applets/image", []string{"kdiag/applets", "kdiag/applets/internal/laptop/"}},
	{"kdiag/applets/", []string{"kdiag/applets", "kdiag/applets/kubeflags", "kdiag/applets/internal/laptop/", "kdiag/kube", "kdiag/mux"}},
	{"kdiag/applets", nil},
	{"kdiag/kube", nil},
	{forAll, nil},
	{"kdiag/mux/muxtest", []string{"kdiag/mux"}},
	{"kdiag/mux/resumable", nil},
	{"kdiag/mux", []string{"kdiag/mux/resumable"}},
	{"kdiag/netfilter/netnstest", []string{"kdiag/integration/testenv"}},
	{"kdiag/netfilter", nil},
	{"kdiag/internal/", nil},
	{"kdiag/scratch-shell", nil},
	{"kdiag/integration", []string{"kdiag/"}},
	{"kdiag/testdata/", nil},
}

// TestImports holds the directions that ARCHITECTURE.md gives.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}

	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		pkg := words[0]
		if pkg == "kdiag" {
			continue
		}

		allowed, known := allowedImports(pkg)
		if !known {
			t.Errorf("package %s: not in the list of who may import what", pkg)
		}

		for _, imported := range words[1:] {
			if strings.HasPrefix(imported, "kdiag/") && (imported != forAll || pkg == forAll) && !matches(allowed, imported) {
				t.Errorf("package %s imports %s, which it may not", pkg, imported)
			}
		}
	}
}

func allowedImports(pkg string) (imports []string, known bool) {
	for _, rule := range mayImport {
		if pkg == rule.pkg || strings.HasPrefix(pkg, strings.TrimSuffix(rule.pkg, "/")+"/") {
			return rule.imports, true
		}
	}
	return nil, false
}

func matches(allowed []string, imported string) bool {
	for _, name := range allowed {
		if imported == name || strings.HasSuffix(name, "/") && strings.HasPrefix(imported, name) {
			return true
		}
	}
	return false
}

// sources are the files of every package but the test cluster's, without tests.
func sources(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != "." || entry.Name() == "cluster") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return files
}

// TestPackageComments wants every package to say what it is, once.
func TestPackageComments(t *testing.T) {
	docs := map[string]int{}
	for _, path := range sources(t) {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		docs[filepath.Dir(path)] += hasDoc(file)
	}

	for dir, count := range docs {
		if count != 1 {
			t.Errorf("package in %s: %d package comments, want 1", dir, count)
		}
	}
}

func hasDoc(file *ast.File) int {
	if file.Doc == nil {
		return 0
	}
	return 1
}

// TestArchitectureIsShort keeps it a page that people read.
func TestArchitectureIsShort(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > 100 {
		t.Errorf("ARCHITECTURE.md: %d lines, want 100 at most", lines)
	}
}

// TestNotesAndErrorsPassOneFunction finds what prints a line for people and does
// not make it printable: such lines quote the cluster and the pod.
func TestNotesAndErrorsPassOneFunction(t *testing.T) {
	prints := regexp.MustCompile(`Fprint.*"(hint|kdiag|Warning): |"note: `)
	for _, path := range sources(t) {
		if strings.HasPrefix(path, "integration/") || strings.HasPrefix(path, "testdata/") {
			continue
		}

		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}

		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			code := strings.TrimSpace(line)
			if prints.MatchString(code) && !strings.HasPrefix(code, "//") && !strings.Contains(code, "wire.Printable(") {
				t.Errorf("%s:%d prints what does not pass wire.Printable: %s", path, number, code)
			}
		}
	}
}

// TestEachEndHasItsRoom holds that the path says where code runs: what runs in
// the pod reaches nothing of Kubernetes, what runs on the laptop nothing that
// changes a kernel, and package wire, which both need, the standard library
// alone.
func TestEachEndHasItsRoom(t *testing.T) {
	for _, room := range []struct {
		packages string
		never    []string
	}{
		{"./applets/internal/pod/...", []string{"k8s.io/", "kdiag/kube", "kdiag/applets/internal/laptop/"}},
		{"./applets/enter ./applets/inspect ./applets/manager ./applets/packets ./applets/hold ./applets/files", []string{"k8s.io/", "kdiag/kube", "kdiag/applets/internal/laptop/"}},
		{"./applets/internal/laptop/...", []string{"kdiag/netfilter", "kdiag/applets/internal/pod/", "kdiag/scratch-shell"}},
		{"./applets/shell ./applets/redir ./applets/ps ./applets/logs ./applets/doctor ./applets/cp ./applets/env ./applets/capture", []string{"kdiag/netfilter", "kdiag/applets/internal/pod/", "kdiag/scratch-shell"}},
		{"./kube", []string{"kdiag/mux", "kdiag/netfilter", "kdiag/applets"}},
		{"./mux/wire ./mux/resumable", []string{"."}}, // a dot stands in every path but the standard library's
		{".", []string{"testing", "kdiag/applets/internal/testkit/", "kdiag/mux/muxtest", "kdiag/netfilter/netnstest"}},
	} {
		args := append([]string{"list", "-deps"}, strings.Fields(room.packages)...)
		out, err := exec.Command("go", args...).Output()
		if err != nil {
			t.Fatalf("go %v: %v", args, err)
		}

		for _, imported := range strings.Fields(string(out)) {
			for _, never := range room.never {
				domain, _, _ := strings.Cut(imported, "/")
				isForbidden := imported == never || strings.HasPrefix(imported, strings.TrimSuffix(never, "/")+"/")
				if never == "." {
					isForbidden = strings.Contains(domain, ".")
				}
				if isForbidden && imported != forAll {
					t.Errorf("%s needs %s, which it must do without", room.packages, imported)
				}
			}
		}
	}
}
