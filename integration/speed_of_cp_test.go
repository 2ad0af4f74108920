//go:build bench

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"kdiag/integration/kit"
)

const (
	largeMiB   = 500
	smallDirs  = 200
	smallFiles = 100 // in each
	cpRounds   = 3
)

// cpPod has busybox, so that kubectl has its tar and cat, and a share of the processors that counts
// beside what else the machine does.
const cpPod = `
apiVersion: v1
kind: Pod
metadata: {name: speed}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:full", imagePullPolicy: Never, resources: {requests: {cpu: "1"}}}
`

// TestSpeedOfCp prints how long kubectl and kdiag take for one large file, and for many small ones,
// by turns.
func TestSpeedOfCp(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, cpPod)
	shell := func(line string) {
		t.Helper()
		if got := kit.RunKdiag(t, "shell", "-q", "-n", namespace, "speed", "--", "-c", line); got.Code != 0 {
			t.Fatalf("%s: %v", line, got)
		}
	}
	shell("ln -s busybox /bin/tar; ln -s busybox /bin/rm; dd if=/dev/urandom of=/large bs=1M count=" + fmt.Sprint(largeMiB))
	at := t.TempDir()
	for i := range smallDirs {
		mustDo(t, os.MkdirAll(fmt.Sprintf("%s/small/%d", at, i), 0o755))
		for j := range smallFiles {
			mustDo(t, os.WriteFile(fmt.Sprintf("%s/small/%d/%d", at, i, j), []byte(fmt.Sprintf("file %d of %d\n", j, i)), 0o644))
		}
	}

	kubectl := "kubectl -n " + namespace + " "
	kdiag := kit.BinaryPath() + " cp -q -n " + namespace + " "
	byTurns(t, "one large file, from the container",
		kubectl+"exec speed -c app -- cat /large > "+at+"/large.kubectl", kdiag+"speed:/large "+at+"/large")
	byTurns(t, "one large file, to the container",
		kubectl+"cp -c app "+at+"/large speed:/up.kubectl", kdiag+at+"/large speed:/up.kdiag")
	byTurns(t, "many small files, to the container",
		kubectl+"exec speed -c app -- rm -rf /small; TIME "+kubectl+"cp -c app "+at+"/small speed:/small",
		kubectl+"exec speed -c app -- rm -rf /small2; TIME "+kdiag+at+"/small speed:/small2")
	byTurns(t, "many small files, from the container",
		"rm -rf "+at+"/s1; TIME "+kubectl+"cp -c app speed:/small "+at+"/s1", "rm -rf "+at+"/s2; TIME "+kdiag+"speed:/small2 "+at+"/s2")
}

// byTurns times two lines of shell by turns. Of a line with TIME only what follows that counts.
func byTurns(t *testing.T, what, kubectl, kdiag string) {
	t.Helper()
	var took [2][]float64
	for range cpRounds {
		for i, line := range []string{kubectl, kdiag} {
			if before, timed, ok := strings.Cut(line, "TIME "); ok {
				_ = exec.Command("sh", "-c", before).Run()
				line = timed
			}
			start := time.Now()
			out, err := exec.Command("sh", "-c", line).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s", line, err, out)
			}
			took[i] = append(took[i], time.Since(start).Seconds())
		}
	}

	for i := range took {
		slices.Sort(took[i])
	}
	one, other := took[0][cpRounds/2], took[1][cpRounds/2]
	fmt.Printf("%s: kubectl %.2f s, kdiag %.2f s, %.2f times as fast (fastest %.2f and %.2f)\n", what, one, other, one/other, took[0][0], took[1][0])
}
