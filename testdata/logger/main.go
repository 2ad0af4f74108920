// Logger writes numbered lines, to be counted: "logger [flags]". Each is
// "INSTANCE NUMBER", with an instance that no other run of it has. On SIGTERM
// it writes "INSTANCE end" and ends.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	rate := flag.Int("rate", 100, "lines per second")
	count := flag.Int("count", 0, "lines to write, 0 for no end; afterwards it waits for SIGTERM")
	exit := flag.Bool("exit", false, "end after the last line")
	first := flag.Int("exit-once", 0, "end after so many lines, unless the file of -mark exists, which it creates")
	mark := flag.String("mark", "", "file for -exit-once")
	long := flag.Int("long", 0, "bytes to make each line longer by")
	flag.Parse()

	if *first > 0 {
		if file, err := os.OpenFile(*mark, os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_ = file.Close()
			*count, *exit = *first, true
		}
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	writeLines(lines{instance: time.Now().UnixNano(), count: *count, tail: strings.Repeat("x", *long)}, *rate, stop, *exit)
}

// lines carries a run of the logger, and how much it has written.
type lines struct {
	instance int64
	count    int
	tail     string
	written  int
}

// writeDue writes lines until as many as are due have been written.
func (l *lines) writeDue(out *bufio.Writer, due int) {
	for ; l.written < due && (l.count == 0 || l.written < l.count); l.written++ {
		fmt.Fprintf(out, "%d %d%s\n", l.instance, l.written+1, l.tail)
	}
	_ = out.Flush()
}

// writeLines writes lines at a rate until they are all written, or until it is
// stopped.
func writeLines(l lines, rate int, stop <-chan os.Signal, exit bool) {
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	tick := time.NewTicker(20 * time.Millisecond)
	start := time.Now()

	for {
		select {
		case now := <-tick.C:
			l.writeDue(out, int(now.Sub(start).Seconds()*float64(rate)))
			if exit && l.count > 0 && l.written == l.count {
				return
			}
		case <-stop:
			fmt.Fprintf(out, "%d end\n", l.instance)
			_ = out.Flush()
			return
		}
	}
}
