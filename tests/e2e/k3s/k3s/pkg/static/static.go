// Package static has files that the server carries.
package static

import (
	"embed"
	"io/fs"
)

//go:embed embed/*
var files embed.FS

// Names gives the path of every file.
func Names() []string {
	var found []string
	fs.WalkDir(files, "embed", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, path[len("embed/"):])
		}
		return err
	})
	return found
}
