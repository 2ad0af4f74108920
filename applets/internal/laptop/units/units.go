// Package units writes sizes and times for people.
package units

import (
	"fmt"
	"time"

	"kdiag/applets"
)

// Size writes a number of bytes, in powers of 1024 (IEC 80000-13).
func Size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 5 {
		value, prefix = value/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[prefix])
}

// Span writes a number of seconds.
func Span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}

	return applets.TrimDuration(d.Round(time.Second).String())
}
