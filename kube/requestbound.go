package kube

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/transport"
)

// boundRequests ends each request that has not been answered in full after some time. It leaves out
// watches, logs and streams, which last for as long as they are used.
func boundRequests(after time.Duration) transport.WrapperFunc {
	return func(base http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if isLongLived(request) {
				return base.RoundTrip(request)
			}

			ctx, cancel := context.WithTimeout(request.Context(), after)
			response, err := base.RoundTrip(request.WithContext(ctx))
			if err != nil {
				cancel()
				return response, err
			}

			response.Body = &boundBody{response.Body, cancel}
			return response, nil
		})
	}
}

// isLongLived reports whether a request's answer may go on for ever.
func isLongLived(request *http.Request) bool {
	path := request.URL.Path
	for _, end := range []string{"/log", "/exec", "/attach", "/portforward"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return request.URL.Query().Has("watch")
}

// boundBody lets go of a request's context when the answer has been read.
type boundBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *boundBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
