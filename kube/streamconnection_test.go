package kube

import (
	"io"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestReadUpgradeFailure(t *testing.T) {
	answer := func(body string) error {
		return readUpgradeFailure(&http.Response{Status: "403 Forbidden", Body: io.NopCloser(strings.NewReader(body))}, "SPDY/3.1")
	}
	status := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}`
	if err := answer(status); !apierrors.IsForbidden(err) || err.Error() != "no" {
		t.Errorf("refusal = %v, want a Status", err)
	}

	for _, body := range []string{"", "<html>go away</html>", "{}"} {
		if err := answer(body); apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "403 Forbidden: "+body) {
			t.Errorf("refusal of %q = %v, want the answer", body, err)
		}
	}
}
