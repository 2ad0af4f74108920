package wire

// IsClosed reports whether a channel is closed, or has something.
func IsClosed[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
