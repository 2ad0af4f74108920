package integration

import (
	"fmt"
	"os"
	"testing"

	"kdiag/integration/kit"
)

func TestMain(m *testing.M) {
	code, err := kit.RunSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}
