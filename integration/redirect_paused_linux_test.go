package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestRedirPaused presses Ctrl-Z, and continues kdiag by fg: meanwhile the application serves new
// connections, and those that are open go on afterwards.
func TestRedirPaused(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	echo := kit.StartLocalServer(t, kit.EchoBytes)
	printed := filepath.Join(t.TempDir(), "printed")
	waitForLines := func(text string, count int) {
		t.Helper()
		kit.WaitUntil(t, text, func() bool {
			all, _ := os.ReadFile(printed)
			return strings.Count(string(all), text) == count
		})
	}

	x := kit.OpenTerminal(t)
	x.TypeLine(kit.BinaryPath() + " redir -n " + namespace + " app 8080:" + here.Port + " 7000:" + echo.Port + " > " + printed)
	waitForLines("7000 →", 1)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	open := kit.OpenConnections(t, 1, app+":7000", "before")[0]

	for round := 1; round <= 2; round++ {
		x.PressKeys("C-z")
		x.WaitForPrompt()
		for range 20 {
			kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
		}

		x.TypeLine("fg")
		waitForLines("8080 →", round+1)
		waitForLines("7000 →", round+1)
		kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
		if err := kit.ExchangeText(open, "after"); err != nil {
			t.Errorf("a connection that was open: %v", err)
		}
	}

	_ = open.Close()
	x.PressKeys("C-c")
	x.WaitForPrompt()
	waitForLines("stopped by Ctrl-Z: new connections go where they went before; open connections: 1, which wait for up to 1m", 2)
	waitForLines("lost the connection", 0)
}
