package containers

// NoProcessError reports that a command found no process of its target: the target has ended since it
// was found.
type NoProcessError struct {
	// Said is what the command printed.
	Said string
	Err  error
}

func (e *NoProcessError) Error() string { return e.Err.Error() }
func (e *NoProcessError) Unwrap() error { return e.Err }
