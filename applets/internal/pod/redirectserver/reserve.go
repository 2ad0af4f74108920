package redirectserver

import "os"

// A descriptorReserve keeps low file descriptors for the back end. When a process is killed, the
// kernel releases its files in falling order of their numbers (fs/file.c, close_files;
// kernel/task_work.c, which runs the last first). So the connections go before the rules: their
// callers get a reset, which could not reach them without the rules. Otherwise they would wait for
// an answer that never comes.
type descriptorReserve struct{ files []*os.File }

// reservedDescriptors is more than a back end opens at once.
const reservedDescriptors = 8

// fill opens what the reserve lacks, as far as the process may.
func (r *descriptorReserve) fill() {
	for len(r.files) < reservedDescriptors {
		file, err := os.Open(os.DevNull)
		if err != nil {
			return
		}
		r.files = append(r.files, file)
	}
}

// release closes the reserve, so that whatever is opened next gets the lowest numbers.
func (r *descriptorReserve) release() {
	for _, file := range r.files {
		_ = file.Close()
	}
	r.files = nil
}
