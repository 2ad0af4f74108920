package containers

import (
	"fmt"

	"kdiag/kube"
)

// OlderImageError reports a kdiag in the pod that is older than this one: it does not know what it is
// told.
type OlderImageError struct {
	doing, image string
	// said is its own error.
	said string
	err  error
}

// NewOlderImageError makes the error of an operation with an image of kdiag, from what that said in the
// pod and how it exited.
func NewOlderImageError(doing, image, said string, err error) *OlderImageError {
	return &OlderImageError{doing: doing, image: image, said: said, err: err}
}

func (e *OlderImageError) Error() string {
	return fmt.Sprintf("%s: kdiag in image %s is older than this one: %s", e.doing, e.image, e.said)
}

func (e *OlderImageError) Unwrap() error { return e.err }

// Hint says where a newer one is.
func (e *OlderImageError) Hint() string { return kube.HintOlderImage }
