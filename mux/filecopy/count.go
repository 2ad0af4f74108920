package filecopy

import "kdiag/mux/wire"

// CountTree counts the files in a directory and below, and their bytes, as far as they can be looked
// at.
func CountTree(dir Dir) (sum wire.FilesTotals) { countDir(dir, &sum, 0); return sum }

func countDir(dir Dir, sum *wire.FilesTotals, depth int) {
	_ = dir.List(func(d Dirent) error { // what cannot be read is told by who copies it
		info, err := dir.Stat(d.Name)
		if err != nil || info.Kind == 0 {
			return nil //nolint:nilerr // the same
		}
		if info.Kind != wire.KindDirectory {
			sum.Files++
			if info.Kind == wire.KindFile {
				sum.Bytes += info.Size
			}
			return nil
		}
		if depth >= wire.MaxFileDepth {
			return nil
		}
		sub, opened, err := dir.OpenDir(d.Name)
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		defer sub.Close()
		if opened.Special == "" {
			countDir(sub, sum, depth+1)
		}
		return nil
	})
}
