package redirectserver

import "os"

// reserve keeps low file descriptors for the back end. When a process is
// killed, the kernel releases its files in falling order of their numbers
// (fs/file.c, close_files; kernel/task_work.c, which runs the last first). So
// the connections go before the rules: their callers get a reset, which could
// not reach them without the rules, and would else wait for an answer.
type reserve struct{ files []*os.File }

// reserved is more than a back end opens at once.
const reserved = 8

// take fills the reserve, as far as that is possible.
func (r *reserve) take() {
	for len(r.files) < reserved {
		file, err := os.Open(os.DevNull)
		if err != nil {
			return
		}
		r.files = append(r.files, file)
	}
}

// give empties it: the lowest numbers are free now.
func (r *reserve) give() {
	for _, file := range r.files {
		_ = file.Close()
	}
	r.files = nil
}
