// Package targetfiles opens the files of a target for a copy (package filecopy): below the target's
// root, following no link out of it, and never waiting for what is no regular file.
package targetfiles
